/** What keys and buttons do to a text while it is edited. The editor's own text is read, since a key may follow another at once. */
import { joined } from './edit-fold.js'
import { editAt, place, stopEditing } from './editing.js'
import { segmentAt } from './transcripts.js'

/** How long an inserted segment is, where there is room. */
const NEW_SECONDS = 2
const LEAST_SECONDS = 0.1
/** A segment cannot be without text. It is selected, so that typing replaces it. */
const PLACEHOLDER = '…'

/** {segments, at, segment} of the segment that is being edited; at is -1 where there is none. */
export function current(editor) {
  const segments = editor.content.peek()?.segments ?? []
  const key = place.peek()?.key
  const at = key === undefined ? -1 : segments.findIndex(({ id }) => editor.keyOf(id) === key)
  return { segments, at, segment: segments[at] }
}

/** Edits a segment. caret: a place in its text, or [from, to]. */
export const editSegment = (editor, segment, caret = 0) => editAt(editor.keyOf(segment.id), caret)

/** Goes to the next segment, or with -1 to the end of the previous one. Returns whether there is one. */
export function goBy(editor, by) {
  const { segments, at } = current(editor)
  const target = segments[at + by]
  if (at < 0 || !target) return null
  editor.commit()
  editSegment(editor, target, by < 0 ? target.text.trim().length : 0)
  return target
}

/**
 * Goes to the next segment that passes the test, after the one that is edited, or else after the one at `seconds`; from
 * the start again after the last one.
 */
export function goToNext(editor, test, seconds) {
  const { segments, at: here } = current(editor)
  const at = here >= 0 ? here : segments.indexOf(segmentAt(segments, seconds))
  const target = [...segments.slice(at + 1), ...segments.slice(0, at + 1)].find(test)
  if (!target) return null
  editor.commit()
  editSegment(editor, target)
  return target
}

/** text: as it stands in the field. caret: a place in it. Returns whether there was something on both sides. */
export function splitAt(editor, text, caret) {
  const { segment } = current(editor)
  if (!segment || !text.slice(0, caret).trim() || !text.slice(caret).trim()) return false
  editor.commit()
  const stored = current(editor).segment.text
  const lead = stored.length - stored.trimStart().length
  const inBare = Math.max(0, caret - (text.length - text.trimStart().length))
  const atChar = [...stored.slice(0, lead + inBare)].length
  const [made] = editor.edit([{ kind: 'split', segment: segment.id, at_char: atChar }])
  editAt(made, 0)
  return true
}

/** Joins the segment that is edited to the one before it, or with 1 the one after to it. */
export function mergeBy(editor, by) {
  editor.commit()
  const { segments, at } = current(editor)
  const [first, second] = by < 0 ? [segments[at - 1], segments[at]] : [segments[at], segments[at + 1]]
  if (at < 0 || !first || !second) return false
  const caret = joined(first.text, second.text).trim().length - second.text.trim().length
  editor.edit([{ kind: 'merge', segments: [first.id, second.id] }])
  editSegment(editor, first, caret)
  return true
}

/** duration: of the recording, in seconds. */
export function insertAfter(editor, duration) {
  editor.commit()
  const { segments, at, segment } = current(editor)
  if (!segment) return
  const [start, end] = timesAfter(segment, segments[at + 1], duration)
  const [made] = editor.edit([{ kind: 'insert', after: segment.id, start, end, text: PLACEHOLDER }])
  editAt(made, [0, PLACEHOLDER.length])
}

/** In the pause between the two, else at the end of the first. */
export function timesAfter(segment, next, duration) {
  const latest = Math.max(segment.start, Math.min(next?.start ?? duration, duration - LEAST_SECONDS))
  const start = Math.min(segment.end, latest)
  const free = (next?.start ?? duration) - start
  return [start, start + Math.max(LEAST_SECONDS, Math.min(NEW_SECONDS, free))]
}

export function removeCurrent(editor) {
  const { segments, at, segment } = current(editor)
  if (!segment) return
  const next = segments[at + 1] ?? segments[at - 1]
  editor.edit([{ kind: 'delete', segments: [segment.id] }])
  if (next) editSegment(editor, next)
  else stopEditing()
}

/** The ids of the segments around one, as far as the same person speaks. */
export function turnAround(segments, at) {
  const isSame = (index) => segments[index] && segments[index].speaker === segments[at].speaker
  let [first, last] = [at, at]
  while (isSame(first - 1)) first -= 1
  while (isSame(last + 1)) last += 1
  return segments.slice(first, last + 1).map(({ id }) => id)
}

/** A speaker's id that nobody has. */
export function freeSpeaker(speakers) {
  let number = 1
  while (`S${number}` in speakers) number += 1
  return `S${number}`
}
