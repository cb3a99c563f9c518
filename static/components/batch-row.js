/** The files of one drop as one row: how far they are, what became of them, and how to take them all back. */
import { html } from 'htm/preact'
import { totalsOf } from '../state/batch-totals.js'
import { takeBackAll, transcribeAllAgain } from '../state/uploads.js'
import { formatBytes } from '../text/format.js'
import { t } from '../text/i18n.js'
import { FileName } from './file-name.js'
import { Icon } from './icons.js'
import { ProgressBar } from './progress-bar.js'

export function BatchRow({ batch, uploads, isUnfolded, onToggle }) {
  const states = uploads.map(({ file, state }) => ({ size: file.size, ...state.value }))
  const totals = totalsOf(batch.tally.value, states)
  const { name, id } = batch
  return html`<div class="task batch" role="group" aria-label=${name} data-testid="batch" data-batch-id=${id}>
    <div class="task-body">
      <p class="task-top"><span class="task-name" dir="auto" title=${name}><${FileName} name=${name} /></span></p>
      <${Facts} totals=${totals} />
      ${totals.active > 0 && html`<${ProgressBar} value=${totals.share} label=${t('upload.progress', { name })} testid="batch-progress" />`}
      <${Questions} uploads=${uploads} known=${totals.known} />
    </div>
    <div class="task-actions">
      <button type="button" class="quiet small" aria-expanded=${isUnfolded} data-testid="batch-files" onClick=${onToggle}>
        ${t(isUnfolded ? 'batch.hide' : 'batch.show')}<${Icon} name="chevron" />
      </button>
      ${
        totals.active > 0 &&
        html`<button type="button" class="quiet small" data-testid="batch-cancel" onClick=${() => takeBackAll(uploads)}>${t('batch.cancel')}</button>`
      }
    </div>
  </div>`
}

function Facts({ totals: { count, arrived, refused, known, sentBytes, wantedBytes } }) {
  const sizes = { done: formatBytes(sentBytes), all: formatBytes(wantedBytes) }
  return html`<p class="task-meta" data-testid="batch-facts">
    <span>${t('batch.arrived', { arrived, count })}</span><span>${t('batch.bytes', sizes)}</span>
    ${refused > 0 && html`<span class="is-bad">${t('batch.refused', { count: refused })}</span>`}
    ${known > 0 && html`<span class="task-warning">${t('batch.known', { count: known })}</span>`}
  </p>`
}

/** One answer for all files that were sent before. */
function Questions({ uploads, known }) {
  if (known < 2) return null
  const asked = () => uploads.filter(({ state }) => state.peek().phase === 'known')
  return html`<div class="question">
    <button type="button" class="quiet small" data-testid="batch-again" onClick=${() => transcribeAllAgain(asked())}>${t('batch.again')}</button>
    <button type="button" class="quiet small" data-testid="batch-skip" onClick=${() => takeBackAll(asked())}>${t('batch.skip')}</button>
  </div>`
}
