/** Asks before tasks are deleted, in the browser's own modal dialog. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import * as selection from '../state/selection.js'
import { t } from '../text/i18n.js'

const question = signal(null)

/** Deletes the tasks if the person agrees. Focus moves to the queue, because the row that had it is gone. */
export async function confirmAndDelete(ids) {
  if (!(await confirmDelete(ids.length))) return
  await selection.remove(ids)
  document.getElementById('queue')?.focus()
}

/** Resolves to whether the person agrees to delete `count` tasks. */
function confirmDelete(count) {
  return new Promise((resolve) => (question.value = { count, resolve }))
}

export function ConfirmDialog() {
  const dialog = useRef(null)
  const asked = question.value
  useEffect(() => {
    if (asked) dialog.current.showModal()
  }, [asked])
  if (!asked) return null

  const answer = (isYes) => {
    dialog.current?.close()
    question.value = null
    asked.resolve(isYes)
  }
  const onCancel = (event) => {
    event.preventDefault()
    answer(false)
  }
  const onBackdrop = (event) => event.target === dialog.current && answer(false)
  return html`<dialog class="confirm" ref=${dialog} aria-labelledby="confirm-title" data-testid="confirm"
    onCancel=${onCancel} onClick=${onBackdrop}>
    <article>
      <h2 id="confirm-title">${t('confirm.delete_title', { count: asked.count })}</h2>
      <p>${t('confirm.delete_text')}</p>
      <footer>
        <button type="button" class="quiet" data-testid="confirm-no" onClick=${() => answer(false)}>${t('confirm.keep')}</button>
        <button type="button" class="danger" data-testid="confirm-yes" onClick=${() => answer(true)}>${t('confirm.delete')}</button>
      </footer>
    </article>
  </dialog>`
}
