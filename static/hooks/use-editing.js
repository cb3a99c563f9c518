/** Editing of an open transcript: its editor, what is being edited, and what the shortcuts do. */
import { useEffect } from 'preact/hooks'
import { showDialog } from '../state/dialogs.js'
import { isDoubtful } from '../state/doubts.js'
import { current, editSegment, goBy, goToNext, insertAfter, removeCurrent, turnAround } from '../state/edit-commands.js'
import { editorOf, isOriginalShown, place, stopEditing } from '../state/editing.js'
import { isCompleted } from '../state/task.js'
import { toast } from '../state/toasts.js'
import { segmentAt } from '../state/transcripts.js'
import { t } from '../text/i18n.js'
import { heldShortcut, isComposing, isTyping } from '../util/shortcuts.js'
import { BACK_S } from './use-player.js'

/**
 * What components need for editing: {editor, player, speakers, isOn, begin(), goBy(by), openSpeakers(), duration(), onKey(event)}.
 * editor: null where there is nothing to edit. isOn: whether a segment is open in a field.
 */
export function useEditing(task, content, player) {
  const editor = isCompleted(task) && content.isFinal && content.segments.length > 0 ? editorOf(task.id) : null
  const canEdit = editor !== null && !isOriginalShown.value
  useEffect(() => leaveText, [task.id])

  const follow = (segment) => {
    if (segment && !player.isPlaying.peek()) player.seek(segment.start)
    return Boolean(segment)
  }
  const duration = () => player.duration.peek() || task.audio_seconds || content.segments.at(-1).end
  const editing = {
    editor,
    canEdit,
    player,
    speakers: content.speakers,
    isOn: canEdit && place.value !== null,
    duration,
    begin: () => beginAt(editor, player),
    goBy: (by) => follow(goBy(editor, by)),
    goToDoubtful: () => follow(goToNext(editor, isDoubtful, player.position.peek())) || toast(t('editing.no_doubt')),
    openSpeakers: (at) => openSpeakers(task.id, editor, at),
    openReplace: () => showDialog('replace', { ids: [task.id] }),
  }
  return { ...editing, onKey: (event) => onKey(event, editing) }
}

/** Another transcript is opened to be read. */
function leaveText() {
  stopEditing()
  isOriginalShown.value = false
}

/** At the player's position, or in the row that has the focus. */
function beginAt(editor, player) {
  const { segments } = editor.content.peek()
  const row = document.activeElement?.closest('.segment')?.dataset.segment
  const focused = segments.find(({ id }) => String(id) === row)
  editSegment(editor, focused ?? segmentAt(segments, player.position.peek()) ?? segments[0])
}

/** at: of the segment; the one that is edited unless it is given. */
function openSpeakers(taskId, editor, at = current(editor).at) {
  const { segments } = current(editor)
  if (at < 0) return
  showDialog('speakers', { taskId, segment: segments[at].id, turn: turnAround(segments, at) })
}

function onKey(event, editing) {
  if (event.defaultPrevented || isComposing(event)) return
  const action = actionOf(event, editing)
  if (!action) return
  event.preventDefault()
  action()
}

function actionOf(event, editing) {
  const { player, editor } = editing
  const name = heldShortcut(event)
  const playing = {
    play: player.toggle,
    back: player.back,
    forward: () => player.step(BACK_S),
  }
  if (!editing.canEdit) return playing[name]
  if (!name) return plainAction(event, editing)
  return {
    ...playing,
    doubtful: editing.goToDoubtful,
    insert: () => insertAfter(editor, editing.duration()),
    delete: () => removeCurrent(editor),
    speaker: () => editing.openSpeakers(),
    replace: editing.openReplace,
    undo: () => editor.undo(),
    redo: () => editor.redo(),
  }[name]
}

/** Keys without another one held: where nothing is typed, and Escape in the field of a segment. */
function plainAction(event, editing) {
  if (event.ctrlKey || event.altKey || event.metaKey) return null
  if (event.key === 'Escape' && editing.isOn) return leaveField
  if (isTyping(event.target)) return null
  return event.key === 'F2' || event.key.toLowerCase() === 'e' ? editing.begin : null
}

/** The focus goes to the segment's row, from which the keys of the player work. */
function leaveField() {
  const row = document.activeElement?.closest('.segment')
  stopEditing()
  requestAnimationFrame(() => row?.querySelector('.segment-play')?.focus({ preventScroll: true }))
}
