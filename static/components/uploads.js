/**
 * Files on their way to the server, and what was sent together: one row with its progress until all of it is done. Its files
 * are shown when that is wanted, or when one of a few needs the person.
 */
import { computed, signal } from '@preact/signals'
import { html } from 'htm/preact'
import { batches } from '../state/batches.js'
import { statusFilter } from '../state/store.js'
import { REFUSED } from '../state/task.js'
import { hiddenArrivals, refusedCount, showEverything, takeBackRefused, uploads } from '../state/uploads.js'
import { t } from '../text/i18n.js'
import { BatchRow } from './batch-row.js'
import { rowIdOf, UploadRow } from './upload-row.js'
import { VirtualList } from './virtual-list.js'

const USUAL_ROW_PX = 84
/** As many files as this are shown by themselves when they were refused, or sent before. */
const FEW = 3
/** Of an older batch the tasks are in the list all the same. */
const MOST_BATCHES = 5

const unfolded = signal(new Set())

function toggle(id) {
  const next = new Set(unfolded.peek())
  if (!next.delete(id)) next.add(id)
  unfolded.value = next
}

/** [{batch, uploads}] in the order of the drops; batch is null for single files. */
const drops = computed(() => {
  const found = new Map()
  for (const upload of uploads.value) {
    const id = upload.batch?.id ?? null
    if (!found.has(id)) found.set(id, { batch: upload.batch, uploads: [] })
    found.get(id).uploads.push(upload)
  }
  return [...found.values()]
})

export function Uploads() {
  if (uploads.value.length === 0) return html`<${SentBatches} /><${HiddenArrivals} />`
  return html`<section class="group" data-testid="uploads">
    <h3>${t(headingKey())}
      ${
        refusedCount.value > 1 &&
        html`<button type="button" class="quiet small" data-testid="dismiss-refused" onClick=${takeBackRefused}>${t('upload.dismiss_all')}</button>`
      }</h3>
    ${drops.value.map((drop) => html`<${Drop} key=${drop.batch?.id ?? 'single'} drop=${drop} />`)}
  </section><${SentBatches} /><${HiddenArrivals} />`
}

/** What these files are called together: of some drops nothing is left here but what was refused. */
function headingKey() {
  if (refusedCount.value < uploads.value.length) return 'queue.group_uploading'
  return drops.value.some(({ batch }) => batch && batches.value[batch.id]) ? 'queue.group_batches' : 'status.refused'
}

function Drop({ drop }) {
  const { batch } = drop
  const isUnfolded = batch !== null && unfolded.value.has(batch.id)
  const shown = batch === null || isUnfolded ? drop.uploads : inNeed(drop.uploads)
  return html`
    ${batch && html`<${BatchRow} batch=${batch} uploads=${drop.uploads} isUnfolded=${isUnfolded} onToggle=${() => toggle(batch.id)} />`}
    <${Files} uploads=${shown} />`
}

/** The batches whose files have all arrived, until their last text is there. */
function SentBatches() {
  const here = new Set(drops.value.map(({ batch }) => batch?.id))
  const sent = Object.values(batches.value).filter(({ id, tasks }) => tasks > 1 && !here.has(id))
  if (sent.length === 0) return null
  return html`<section class="group" data-testid="batches">
    <h3>${t('queue.group_batches')}</h3>
    ${sent.slice(0, MOST_BATCHES).map((batch) => html`<${BatchRow} key=${batch.id} batch=${batch} />`)}
  </section>`
}

/** The few files that ask the person something or were refused; of many, the row of the batch tells how many. */
function inNeed(files) {
  const needy = files.filter(({ state }) => ['refused', 'known'].includes(state.value.phase))
  const isAll = statusFilter.value === REFUSED
  return isAll || needy.length <= FEW ? needy : []
}

function Files({ uploads: files }) {
  if (files.length === 0) return null
  return html`<${VirtualList} ids=${files.map(rowIdOf)} Row=${FileRow} guess=${USUAL_ROW_PX} />`
}

const byRowId = computed(() => new Map(uploads.value.map((upload) => [rowIdOf(upload), upload])))

function FileRow({ id, place, size }) {
  const upload = byRowId.value.get(id)
  return upload && html`<${UploadRow} upload=${upload} place=${place} size=${size} />`
}

/** What became of files that arrived while the list is filtered or searched. */
function HiddenArrivals() {
  const count = hiddenArrivals.value
  return html`<div role="status" class=${count ? '' : 'unseen'}>${
    count > 0 &&
    html`<p class="hint" data-testid="hidden-arrivals"><span>${t('upload.hidden', { count })}</span>
      <button type="button" class="quiet small" data-testid="show-arrivals" onClick=${showEverything}>${t('queue.show_all')}</button></p>`
  }</div>`
}
