/** Asks before tasks are deleted, a batch is cancelled or a recording discarded. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import * as selection from '../state/selection.js'
import { nameOf } from '../state/task-names.js'
import { t } from '../text/i18n.js'
import { Dialog } from './dialog.js'
import { FileName } from './file-name.js'

/** More are counted. */
const MOST_NAMES = 6

const question = signal(null)

/** Deletes the tasks if the person agrees. Focus moves to the queue, because the row that had it is gone. */
export async function confirmAndDelete(ids) {
  if (!(await confirmDelete(ids))) return
  await selection.remove(ids)
  document.getElementById('queue')?.focus()
}

/** Resolves to whether the person agrees to delete these tasks. */
function confirmDelete(ids) {
  const words = { title: t('confirm.delete_title', { count: ids.length }), text: t('confirm.delete_text') }
  return ask({ ...words, names: ids.map(nameOf), no: t('confirm.keep'), yes: t('confirm.delete') })
}

/** Resolves to whether the person agrees to cancel what is left of a batch, `count` files or tasks. */
export function confirmCancel(name, count) {
  const words = { title: t('confirm.cancel_title', { count }), text: t('confirm.cancel_text') }
  return ask({ ...words, names: [name], no: t('confirm.go_on'), yes: t('batch.cancel') })
}

/** Resolves to whether the person agrees to lose a recording that was not sent. name: null where it has none yet. */
export function confirmDiscard(name = null) {
  const words = { title: t('record.discard_title'), text: t('record.discard_text') }
  return ask({ ...words, names: name === null ? [] : [name], no: t('confirm.keep'), yes: t('record.discard') })
}

const ask = (words) => new Promise((resolve) => (question.value = { ...words, resolve }))

export function ConfirmDialog() {
  const asked = question.value
  if (!asked) return null

  const answer = (isYes) => {
    question.value = null
    asked.resolve(isYes)
  }
  const deny = () => answer(false)
  return html`<${Dialog} title=${asked.title} testid="confirm" onClose=${deny}>
    <${Names} names=${asked.names} />
    <p>${asked.text}</p>
    <footer>
      <button type="button" class="quiet" data-testid="confirm-no" onClick=${deny}>${asked.no}</button>
      <button type="button" class="danger" data-testid="confirm-yes" onClick=${() => answer(true)}>${asked.yes}</button>
    </footer>
  <//>`
}

function Names({ names }) {
  const shown = names.length > MOST_NAMES ? names.slice(0, MOST_NAMES - 1) : names
  const count = names.length - shown.length
  if (count === 0 && names.length === 0) return null
  return html`<ul class="confirm-names" data-testid="confirm-names">
    ${shown.map((name, index) => html`<li key=${index} dir="auto" title=${name}><${FileName} name=${name} /></li>`)}
    ${count > 0 && html`<li>${t('confirm.and_more', { count })}</li>`}
  </ul>`
}
