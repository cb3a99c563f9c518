/** A transcript's history as it is shown. */
import { editsOf } from './edit-outbox.js'

/** What one person types into one segment within this time is one entry. */
const TOGETHER_MS = 120_000

/**
 * [{number, author, at, edits, isUndone}], newest first, of the server's steps [{number, author, at, kind, data, undone}].
 * Every pause in typing is a step, so those of the same segment are shown as one.
 */
export function groupedSteps(steps) {
  const groups = []
  for (const step of steps) {
    const isUndone = step.undone
    const edits = ['undo', 'redo'].includes(step.kind) ? [{ kind: step.kind }] : editsOf(step)
    const group = { number: step.number, author: step.author, at: step.at, edits, isUndone, from: step.at }
    const later = groups.at(-1)
    if (later && isContinued(group, later)) Object.assign(later, { edits: [...edits, ...later.edits], from: step.at })
    else groups.push(group)
  }
  return groups
}

function isContinued(earlier, later) {
  const segment = typedSegment(later)
  const isSame = segment !== null && typedSegment(earlier) === segment && earlier.author === later.author
  return isSame && earlier.isUndone === later.isUndone && Date.parse(later.from) - Date.parse(earlier.at) < TOGETHER_MS
}

function typedSegment({ edits }) {
  const isTyping = edits.every(({ kind, segment }) => kind === 'set_text' && segment === edits[0].segment)
  return isTyping ? edits[0].segment : null
}
