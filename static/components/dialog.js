/** The browser's own modal dialog: Escape and a click beside it close it, and the focus goes back to where it was. */
import { html } from 'htm/preact'
import { useId, useLayoutEffect, useRef } from 'preact/hooks'

/** The browser does it only for a dialog that is closed before it is removed. */
function giveBack(before) {
  requestAnimationFrame(() => {
    if (before?.isConnected && document.activeElement === document.body) before.focus({ preventScroll: true })
  })
}

/**
 * onSubmit: called with the form's event, for Enter in a field or a button of type submit. isWide: for a list rather than a
 * question. keepsOpen: a click beside it does not close it, so that nothing typed is lost. name: a further class.
 */
export function Dialog({ title, testid, name = '', isWide = false, keepsOpen = false, onClose, onSubmit, children }) {
  const dialog = useRef(null)
  const titleId = useId()
  // Before the page is painted, so that the next key is the dialog's already.
  useLayoutEffect(() => {
    const before = document.activeElement
    dialog.current.showModal()
    return () => giveBack(before)
  }, [])
  const onCancel = (event) => {
    event.preventDefault()
    onClose()
  }
  const submit = (event) => {
    event.preventDefault()
    onSubmit?.(event)
  }
  const onClick = (event) => event.target === dialog.current && !keepsOpen && onClose()
  return html`<dialog class="confirm ${name} ${isWide ? 'is-wide' : ''}" ref=${dialog} aria-labelledby=${titleId} data-testid=${testid}
    onCancel=${onCancel} onClick=${onClick}>
    <article>
      <form class="dialog-form" onSubmit=${submit}>
        <h2 id=${titleId}>${title}</h2>
        ${children}
      </form>
    </article>
  </dialog>`
}
