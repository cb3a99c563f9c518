/** Asks before something that cannot be undone, in the browser's own modal dialog. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { t } from '../text/i18n.js'

const question = signal(null)

/** Resolves with whether the person agreed to delete `count` tasks. */
export function confirmDelete(count) {
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
  return html`<dialog class="confirm" ref=${dialog} aria-labelledby="confirm-title" data-testid="confirm"
    onCancel=${(event) => {
      event.preventDefault()
      answer(false)
    }} onClick=${(event) => event.target === dialog.current && answer(false)}>
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
