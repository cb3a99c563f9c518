/** Whichever of the dialogs about editing is open. */
import { html } from 'htm/preact'
import { openDialog } from '../state/dialogs.js'
import { EditHistory } from './edit-history.js'
import { ReplaceDialog } from './replace-dialog.js'
import { ShiftDialog } from './shift-dialog.js'
import { ShortcutSheet } from './shortcut-sheet.js'
import { FindSpeakersDialog, SpeakersDialog } from './speaker-dialogs.js'

const DIALOGS = {
  history: EditHistory,
  replace: ReplaceDialog,
  shift: ShiftDialog,
  shortcuts: ShortcutSheet,
  speakers: SpeakersDialog,
  'find-speakers': FindSpeakersDialog,
}

export function EditDialogs() {
  const open = openDialog.value
  return open && html`<${DIALOGS[open.name]} ...${open} />`
}
