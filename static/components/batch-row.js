/** The files of one drop as one row, from the first byte to the last text: how far they are, and how to cancel them all. */
import { html } from 'htm/preact'
import { totalsOf } from '../state/batch-totals.js'
import { batches, cancelRestOf, leftOf } from '../state/batches.js'
import { filter, setFilter } from '../state/store.js'
import { takeBackAll, transcribeAllAgain } from '../state/uploads.js'
import { formatBytes, formatSpan } from '../text/format.js'
import { t } from '../text/i18n.js'
import { confirmCancel } from './confirm.js'
import { FileName } from './file-name.js'
import { Icon } from './icons.js'
import { ProgressBar } from './progress-bar.js'

/** batch: {id, name, tally} of files on their way, or what the server says of one whose files have all arrived. */
export function BatchRow({ batch, uploads = [], isUnfolded, onToggle }) {
  const { id } = batch
  const name = batch.name || t('batch.unnamed')
  const sent = batches.value[id] // Of what has arrived already.
  const totals = batch.tally && totalsOf(batch.tally.value, uploads.map(stateOf))
  const isUploading = totals?.active > 0
  const left = (totals?.active ?? 0) + (sent ? leftOf(sent) : 0)
  const share = isUploading ? totals.share : sent?.progress
  const cancelAll = async () => {
    if (!(await confirmCancel(name, left))) return
    takeBackAll(uploads)
    cancelRestOf(id)
  }
  return html`<div class="task batch" role="group" aria-label=${name} data-testid="batch" data-batch-id=${id}>
    <div class="task-body">
      <p class="task-top"><span class="task-name" dir="auto" title=${name}><${FileName} name=${name} /></span></p>
      <p class="task-meta" data-testid="batch-facts"><${UploadFacts} totals=${totals} /><${TaskFacts} sent=${sent} count=${totals && totals.count - totals.refused} /></p>
      ${share !== undefined && html`<${ProgressBar} value=${share} label=${t('task.progress', { name })} testid="batch-progress" />`}
      <${Questions} uploads=${uploads} known=${totals?.known ?? 0} />
    </div>
    <div class="task-actions">
      ${onToggle && html`<${FilesButton} isUnfolded=${isUnfolded} onToggle=${onToggle} />`}
      ${sent && html`<button type="button" class="quiet small" data-testid="batch-tasks" onClick=${() => showOnly(id)}>${t('batch.tasks')}</button>`}
      ${left > 0 && html`<button type="button" class="quiet small" data-testid="batch-cancel" onClick=${cancelAll}>${t('batch.cancel')}</button>`}
    </div>
  </div>`
}

const stateOf = ({ file, state }) => ({ size: file.size, ...state.value })
const showOnly = (batch) => setFilter({ more: { ...filter.peek(), batch } })

function FilesButton({ isUnfolded, onToggle }) {
  return html`<button type="button" class="quiet small" aria-expanded=${isUnfolded} data-testid="batch-files" onClick=${onToggle}>
    ${t(isUnfolded ? 'batch.hide' : 'batch.show')}<${Icon} name="chevron" />
  </button>`
}

function UploadFacts({ totals }) {
  if (!totals) return null
  const { count, arrived, refused, known, sentBytes, wantedBytes } = totals
  const sizes = { done: formatBytes(sentBytes), all: formatBytes(wantedBytes) }
  return html`<span>${t('batch.arrived', { arrived, count })}</span><span>${t('batch.bytes', sizes)}</span>
    ${refused > 0 && html`<span class="is-bad">${t('batch.refused', { count: refused })}</span>`}
    ${known > 0 && html`<span class="task-warning">${t('batch.known', { count: known })}</span>`}`
}

/** count: of all files that were not refused, with those that have not arrived. */
function TaskFacts({ sent, count }) {
  if (!sent) return null
  const { counts, tasks, eta_seconds: eta } = sent
  return html`<span>${t('batch.done', { done: counts.completed, count: Math.max(count ?? 0, tasks) })}</span>
    ${counts.failed > 0 && html`<span class="is-bad">${t('batch.failed', { count: counts.failed })}</span>`}
    ${eta != null && html`<span>${t('task.left', { span: formatSpan(eta) })}</span>`}`
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
