/** Four figures that sum up the state of the system. */
import { html } from 'htm/preact'
import { allowedTasks } from '../../state/devices.js'
import { history } from '../../state/history.js'
import { counts, system } from '../../state/store.js'
import { formatNumber, formatPercent, formatRounded, formatWait } from '../../text/format.js'
import { t } from '../../text/i18n.js'

export function Figures() {
  if (system.value === null) return null
  return html`<dl class="figures-row" aria-label=${t('system.figures')} data-testid="figures">
    <${Speed} /><${Running} /><${Waiting} /><${WaitingTime} />
  </dl>`
}

function Speed() {
  const speed = formatRounded(system.value.throughput?.audio_seconds_per_second ?? 0)
  return html`<${Figure} name=${t('system.speed')} value=${t('system.speed_value', { speed })} note=${t('system.speed_note')} />`
}

function Running() {
  const { occupancy } = system.value
  const value = t('system.running_value', {
    count: counts.value.processing ?? 0,
    most: allowedTasks(system.value),
  })
  const note = occupancy == null ? '' : t('system.running_note', { percent: formatPercent(occupancy) })
  return html`<${Figure} name=${t('system.running')} value=${value} note=${note} share=${occupancy} />`
}

function Waiting() {
  const { pending = 0, retrying = 0 } = counts.value
  const note = retrying ? t('system.waiting_note', { count: retrying }) : t('system.waiting_none')
  return html`<${Figure} name=${t('system.waiting')} value=${formatNumber(pending)} note=${note} />`
}

/** Of the latest sample in which a task started. */
function WaitingTime() {
  const sample = history.value?.samples.findLast(({ mean_wait_seconds: mean }) => mean != null)
  const value = sample ? formatWait(sample.mean_wait_seconds) : t('plot.unknown')
  const note = sample ? t('system.wait_note', { span: formatWait(sample.p95_wait_seconds) }) : t('system.wait_none')
  return html`<${Figure} name=${t('system.wait')} value=${value} note=${note} />`
}

/** share: 0 to 1, drawn as a bar; none for null or undefined. */
function Figure({ name, value, note, share }) {
  return html`<div class="figure">
    <dt>${name}</dt>
    <dd><b>${value}</b><small>${note}</small>${share != null && html`<${Bar} share=${share} />`}</dd>
  </div>`
}

const Bar = ({ share }) =>
  html`<span class="figure-bar" aria-hidden="true"><span style=${{ width: `${Math.min(100, 100 * share)}%` }}></span></span>`
