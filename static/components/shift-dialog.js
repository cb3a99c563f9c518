/** Moves all times of a transcript by the same length. */
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { closeDialog } from '../state/dialogs.js'
import { editorOf } from '../state/editing.js'
import { t } from '../text/i18n.js'
import { Dialog } from './dialog.js'

export function ShiftDialog({ taskId, player }) {
  const editor = editorOf(taskId)
  const [text, setText] = useState('')
  const seconds = Number(text.replace(',', '.'))
  const isRight = text.trim() !== '' && Number.isFinite(seconds) && seconds !== 0
  const shift = () => {
    if (!isRight) return
    editor.edit([{ kind: 'shift', seconds }])
    closeDialog()
  }
  const first = editor.content.peek().segments[0]
  const here = () => setText(String(Math.round((player.position.peek() - first.start) * 100) / 100))
  return html`<${Dialog} title=${t('shift.title')} testid="shift" onClose=${closeDialog} onSubmit=${shift}>
    <label class="option"><span>${t('shift.seconds')}</span>
      <input type="text" inputmode="decimal" autofocus value=${text} data-testid="shift-seconds" onInput=${(event) => setText(event.target.value)} />
      <small>${t('shift.hint')}</small>
    </label>
    <button type="button" class="quiet small" data-testid="shift-here" onClick=${here}>${t('shift.here')}</button>
    <footer>
      <button type="button" class="quiet" onClick=${closeDialog}>${t('editing.cancel')}</button>
      <button type="submit" class="primary" disabled=${!isRight} data-testid="shift-go">${t('shift.go')}</button>
    </footer>
  <//>`
}
