/** Every model: in which precision it computes, how fast it is here, how exact it is, and whether it is here. */
import { html } from 'htm/preact'
import { usePolling } from '../../hooks/use-polling.js'
import { fetchedShare, fetchOf } from '../../state/model-fetches.js'
import { models, refreshModels } from '../../state/store.js'
import { formatBytes, formatPercent, formatRounded } from '../../text/format.js'
import { t } from '../../text/i18n.js'
import { availabilityText } from '../../text/model-text.js'

const COLUMNS = ['name', 'speed', 'errors', 'state', 'precision', 'file']
const REFRESH_S = 30 // speeds change with every window, and no event says so

export function Models() {
  usePolling(readModels, REFRESH_S)
  const offered = models.value?.models ?? []
  return html`<section class="panel-card" aria-labelledby="models-title" data-testid="models">
    <h3 id="models-title">${t('models.title')}</h3>
    <p>${t('models.hint')}</p>
    <div class="table-box is-tall" tabindex="0" role="region" aria-label=${t('models.table')}>
      <table class="estimates" data-testid="models-table">
        <thead><tr>${COLUMNS.map((name) => html`<th scope="col" class=${`is-${name}`}>${t(`models.${name}`)}</th>`)}</tr></thead>
        <tbody>${offered.map((model) => html`<${Model} key=${model.name} model=${model} />`)}</tbody>
      </table>
    </div>
  </section>`
}

function Model({ model }) {
  const { name, precision, size_bytes: size, speed, word_error_rate: errors } = model
  const fetching = fetchOf(name)
  return html`<tr data-testid="model-row" data-model=${name}>
    <th scope="row">${name}</th>
    <td class="is-speed">${speed == null ? t('plot.unknown') : t('plot.times', { speed: formatRounded(speed) })}</td>
    <td class="is-errors">${errors == null ? t('plot.unknown') : formatPercent(errors, 1)}</td>
    <td>${availabilityText(model, fetching && fetchedShare(fetching))}</td>
    <td>${t(`models.precision_${precision}`)}</td>
    <td class="is-file">${formatBytes(size)}</td>
  </tr>`
}

/** The list that is there stays when the server does not answer; the page says elsewhere that it is lost. */
async function readModels() {
  try {
    await refreshModels()
  } catch (error) {
    if (error.name !== 'ApiError') throw error
  }
}
