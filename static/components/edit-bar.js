/** Above a finished text: the way into editing, undo and redo, what else can be done, the original, and whether all is saved. */
import { html } from 'htm/preact'
import { useRef } from 'preact/hooks'
import { findSpeakers } from '../api.js'
import { showDialog } from '../state/dialogs.js'
import { isOriginalShown, stopEditing } from '../state/editing.js'
import { toast, toastError } from '../state/toasts.js'
import { OFFLINE, SAVED, SAVING, UNKEPT } from '../state/transcript-editor.js'
import { t } from '../text/i18n.js'
import { keyNames } from '../util/shortcuts.js'
import { ConflictCards } from './conflicts.js'
import { Icon } from './icons.js'
import { Menu } from './menu.js'

/** editing: of useEditing. */
export function EditBar({ task, content, editing }) {
  if (editing.editor === null) return null
  return html`<div class="edit-bar" data-testid="edit-bar">
    ${editing.canEdit && html`<${Actions} task=${task} editing=${editing} />`}
    ${content.version > 0 && html`<${VersionSwitch} />`}
    <span class="spring"></span>
    <${SaveState} editor=${editing.editor} version=${content.version} />
    <span class="unseen" id="editing-keys">${t('editing.keys_hint', { keys: keyNames('Mod+K').join(' ') })}</span>
    ${editing.canEdit && html`<${ConflictCards} editor=${editing.editor} speakers=${content.speakers} />`}
  </div>`
}

function Actions({ task, editing }) {
  const { editor, isOn } = editing
  const [undo, redo] = [withKeys('editing.undo', 'Command+Z'), withKeys('editing.redo', 'Command+Shift+Z')]
  return html`<button type="button" class=${isOn ? 'primary small' : 'quiet small'} aria-pressed=${isOn} data-testid="edit"
      onClick=${() => (isOn ? stopEditing() : editing.begin())}>
      <${Icon} name=${isOn ? 'check' : 'pencil'} /><span>${t(isOn ? 'editing.done' : 'editing.edit')}</span>
    </button>
    <${Step} icon="undo" title=${undo} isPossible=${editor.canUndo.value} onClick=${() => editor.undo()} />
    <${Step} icon="redo" title=${redo} isPossible=${editor.canRedo.value} onClick=${() => editor.redo()} />
    <${Menu} text=${t('editing.more')} label=${t('editing.more')} testid="edit-menu" groups=${[{ entries: entriesOf(task, editing) }]} />`
}

function Step({ icon, title, isPossible, onClick }) {
  return html`<button type="button" class="round" aria-label=${t(`editing.${icon}`)} title=${title} disabled=${!isPossible} data-testid=${icon}
    onClick=${onClick}><${Icon} name=${icon} /></button>`
}

const withKeys = (key, keys) => `${t(key)} (${keyNames(keys).join(' ')})`

function entriesOf(task, editing) {
  return [
    { text: t('replace.title'), testid: 'open-replace', onSelect: editing.openReplace },
    {
      text: t('shift.title'),
      testid: 'open-shift',
      onSelect: () => showDialog('shift', { taskId: task.id, player: editing.player }),
    },
    { text: t('speaker.find'), testid: 'find-speakers', onSelect: () => askForSpeakers(task) },
    { text: t('history.title'), testid: 'open-history', onSelect: () => showDialog('history', { taskId: task.id }) },
    { text: t('shortcuts.title'), testid: 'open-shortcuts', onSelect: () => showDialog('shortcuts') },
  ]
}

function askForSpeakers(task) {
  const find = (count) => findSpeakers(task.id, count).then(() => toast(t('speaker.finding')), toastError)
  showDialog('find-speakers', { find })
}

/** The exact original is one click away. */
function VersionSwitch() {
  const choice = (isOriginal) => html`<label>
    <input type="radio" name="version" checked=${isOriginalShown.value === isOriginal} data-testid=${isOriginal ? 'show-original' : 'show-edited'}
      onChange=${() => showVersion(isOriginal)} />
    ${t(isOriginal ? 'editing.original' : 'editing.edited')}
  </label>`
  return html`<fieldset class="segmented"><legend>${t('editing.version')}</legend>${choice(false)}${choice(true)}</fieldset>`
}

function showVersion(isOriginal) {
  stopEditing()
  isOriginalShown.value = isOriginal
}

const STATE_ICONS = { [SAVED]: 'check', [SAVING]: 'retry', [OFFLINE]: 'alert', [UNKEPT]: 'alert' }

/** Read aloud only where there is trouble, and once that is over: it would be said at every pause. */
function SaveState({ editor, version }) {
  const state = editor.state.value
  const isTrouble = state === OFFLINE || state === UNKEPT
  const said = useRef('')
  if (isTrouble) said.current = t(`saving.${state}`)
  else if (state === SAVED && said.current) said.current = t('saving.saved')
  const isWorthSaying = state !== SAVED || version > 0
  return html`<p class="save-state is-${state}" data-testid="save-state" data-state=${state}>
    ${isWorthSaying && html`<${Icon} name=${STATE_ICONS[state]} /><span aria-hidden=${isTrouble || undefined}>${t(`saving.${state}`)}</span>`}
    <span class="unseen" role="status">${said.current}</span>
  </p>`
}
