/**
 * The edits of one transcript that the server does not have yet, as a value: functions take an outbox and return another.
 * It is what the browser keeps, so it holds nothing that JSON cannot.
 *
 * {version, batches, conflicts, redoable, lastLocal}
 * version: the number of the last edit of the transcript that the page knows.
 * batches: [{key, edits, before, isOpen, isSent}], in order; each is one step of undoing. before: id -> the segment as it
 *   was when it was edited, of every segment that the batch names. isOpen: text is still being typed into it. sentAt: the
 *   version it was sent with, when it may have reached the server and no answer has come; else null.
 * conflicts: [{key, ids, mine, edits, error?}], batches whose segments somebody else has changed meanwhile. mine: what the
 *   segments were to become. error: {code, message} of the server, where that is why.
 * redoable: batches that were taken back before they were sent, the last one at the end.
 */
import { applyEdits, EVERY, joined, madeBy, namedBy } from './edit-fold.js'

/** lastLocal: pages begin at different numbers, because one may take over another's outbox. */
export const emptyOutbox = (version = 0, lastLocal = 0) => ({
  version,
  batches: [],
  conflicts: [],
  redoable: [],
  lastLocal,
})

export const isEmpty = ({ batches, conflicts }) => batches.length === 0 && conflicts.length === 0

/** The text with all that is not sent yet. */
export const foldedWith = (content, { batches }) =>
  batches.reduce((folded, { edits }) => applyEdits(folded, edits), content)

/** shown: the text as the person sees it. */
export function withBatch(outbox, shown, edits, key) {
  const made = numbered(edits, outbox.lastLocal)
  const batch = { key, edits: made.edits, before: segmentsOf(shown, idsOf(made.edits)), isOpen: false, sentAt: null }
  return { ...withClosed(outbox), batches: [...withClosed(outbox).batches, batch], redoable: [], lastLocal: made.last }
}

/** Gives the segments that the edits make ids of their own. */
function numbered(edits, last) {
  const isMaking = ({ kind }) => kind === 'split' || kind === 'insert'
  const withIds = edits.map((edit) => (isMaking(edit) ? { ...edit, local: --last } : edit))
  return { edits: withIds, last }
}

/** Text typed into a segment goes on in the batch that typing began, until something else closes it. */
export function withTyped(outbox, shown, segment, text, key) {
  if (outbox.conflicts.some(({ ids }) => ids.includes(segment))) return withTypedInConflict(outbox, segment, text)
  const last = outbox.batches.at(-1)
  if (last?.isOpen && last.edits[0].segment === segment) {
    return { ...outbox, batches: outbox.batches.with(-1, { ...last, edits: [{ ...last.edits[0], text }] }) }
  }
  const added = withBatch(outbox, shown, [{ kind: 'set_text', segment, text }], key)
  return { ...added, batches: added.batches.with(-1, { ...added.batches.at(-1), isOpen: true }) }
}

/** What somebody types on until they see that there is a conflict belongs to their side of it. */
function withTypedInConflict(outbox, segment, text) {
  const conflicts = outbox.conflicts.map((conflict) => ({
    ...conflict,
    mine: conflict.mine.map((one) => (one.id === segment ? { ...one, text } : one)),
  }))
  return { ...outbox, conflicts }
}

/** Ends typing. What is as it was before needs no edit. */
export function withClosed(outbox) {
  const last = outbox.batches.at(-1)
  if (!last?.isOpen) return outbox
  const [{ segment, text }] = last.edits
  const isSame = last.before[segment] !== undefined && last.before[segment].text.trim() === text.trim()
  const others = outbox.batches.slice(0, -1)
  return { ...outbox, batches: isSame ? others : [...others, { ...last, isOpen: false }] }
}

export const withSent = (outbox, key) => withSentAt(outbox, key, outbox.version)

/** It is known not to have arrived. */
export const withUnsent = (outbox, key) => withSentAt(outbox, key, null)

function withSentAt(outbox, key, sentAt) {
  return { ...outbox, batches: outbox.batches.map((batch) => (batch.key === key ? { ...batch, sentAt } : batch)) }
}

/** Takes the last batch back, if it was not sent: [outbox, whether there was one]. */
export function withUndone(outbox) {
  const last = outbox.batches.at(-1)
  if (!last || last.sentAt !== null) return [outbox, false]
  return [{ ...outbox, batches: outbox.batches.slice(0, -1), redoable: [...outbox.redoable, last] }, true]
}

export function withRedone(outbox) {
  const last = outbox.redoable.at(-1)
  if (!last) return [outbox, false]
  return [{ ...outbox, batches: [...outbox.batches, last], redoable: outbox.redoable.slice(0, -1) }, true]
}

// --- the server's answers ---------------------------------------------------------------------------------------------

/**
 * The outbox once the server has done the batch `key`. after: the transcript with it. ids: local id -> the server's, of the
 * segments that it made; later batches now name them by these.
 */
export function withDone(outbox, key, after, ids) {
  const done = outbox.batches.find((batch) => batch.key === key)
  const touched = new Set([...idsOf(done.edits), ...ids.values()])
  const renamed = (batch) => renamedBatch(batch, ids, touched, after)
  return {
    ...outbox,
    batches: outbox.batches.filter((batch) => batch !== done).map(renamed),
    redoable: outbox.redoable.map(renamed),
  }
}

function renamedBatch(batch, ids, touched, after) {
  const edits = batch.edits.map((edit) => renamedEdit(edit, ids))
  const present = segmentsOf(
    after,
    idsOf(edits).filter((id) => touched.has(id)),
  )
  return { ...batch, edits, before: { ...batch.before, ...present } }
}

/** The edit with the server's ids where it has local ones. */
export function renamedEdit(edit, ids) {
  const nameOf = (id) => ids.get(id) ?? id
  const renamed = { ...edit }
  for (const field of ['segment', 'after']) if (field in edit) renamed[field] = nameOf(edit[field])
  if (Array.isArray(edit.segments)) renamed.segments = edit.segments.map(nameOf)
  return renamed
}

/** The outbox once the page knows the transcript as somebody else has changed it. */
export function withReceived(outbox, content, version) {
  const present = new Map(content.segments.map((segment) => [segment.id, segment]))
  const disputed = new Set()
  const claimed = new Set()
  const kept = []
  let { conflicts } = outbox
  for (const batch of outbox.batches.map((one) => pruned(one, present)).filter(({ edits }) => edits.length > 0)) {
    const ids = [...idsOf(batch.edits), ...batch.edits.map(madeBy).filter(Boolean)]
    // Of one that may have arrived the change may be its own.
    const isInDoubt = batch.sentAt !== null
    const isDisputed = !isInDoubt && (ids.some((id) => disputed.has(id)) || isOverrun(batch, present, claimed))
    if (isDisputed) conflicts = withConflict(conflicts, batch)
    else kept.push(batch)
    for (const id of ids) (isDisputed ? disputed : claimed).add(id)
  }
  return { ...outbox, version, batches: kept, conflicts }
}

/** Of segments that are gone, nobody needs to be told that they were to go, or who speaks in them. */
function pruned(batch, present) {
  if (batch.sentAt !== null) return batch
  const isThere = (id) => id < 0 || present.has(id)
  const edits = batch.edits.flatMap((edit) => {
    if (!['delete', 'set_speaker'].includes(edit.kind)) return [edit]
    const segments = edit.segments.filter(isThere)
    return segments.length > 0 ? [{ ...edit, segments }] : []
  })
  return { ...batch, edits }
}

/** claimed: the segments that earlier batches change, of which this one's `before` is not what the server has. */
function isOverrun({ edits, before }, present, claimed) {
  return edits.some((edit) =>
    idsOf([edit]).some((id) => {
      if (id < 0 || claimed.has(id)) return false
      const [was, is] = [before[id], present.get(id)]
      return !is || (was !== undefined && isChanged(edit, was, is))
    }),
  )
}

/** Whether what the edit changes was changed by somebody else, and to something else. */
function isChanged(edit, was, is) {
  const isTextChanged = was.text.trim() !== is.text.trim()
  if (edit.kind === 'set_text') return isTextChanged && is.text.trim() !== edit.text.trim()
  if (edit.kind === 'set_times') return was.start !== is.start || was.end !== is.end
  return isTextChanged && ['split', 'merge', 'delete', 'replace'].includes(edit.kind)
}

// --- conflicts --------------------------------------------------------------------------------------------------------

/** The batch joins a conflict about one of its segments. */
function withConflict(conflicts, batch, error) {
  const ids = idsOf(batch.edits).filter((id) => id >= 0)
  const own = [...idsOf(batch.edits), ...batch.edits.map(madeBy).filter(Boolean)]
  const same = conflicts.find(
    (one) => one.mine.some(({ id }) => own.includes(id)) || one.ids.some((id) => own.includes(id)),
  )
  const before = Object.values(batch.before).sort((a, b) => a.start - b.start)
  const begun = same?.mine ?? []
  const more = before.filter(({ id }) => !begun.some((one) => one.id === id) && !same?.ids.includes(id))
  const { segments: mine } = applyEdits({ segments: [...begun, ...more], speakers: {} }, batch.edits)
  const conflict = {
    key: same?.key ?? batch.key,
    ids: [...new Set([...(same?.ids ?? []), ...ids])],
    mine,
    ...(error && { error }),
  }
  return [...conflicts.filter((one) => one !== same), conflict]
}

/** The outbox once the server has refused the batch for good: what was written in it is kept, and shown. */
export function withRefused(outbox, key, error) {
  const refused = outbox.batches.find((batch) => batch.key === key)
  const batches = outbox.batches.filter((batch) => batch !== refused)
  return { ...outbox, batches, conflicts: withConflict(outbox.conflicts, refused, error) }
}

export const withoutConflict = (outbox, key) => ({
  ...outbox,
  conflicts: outbox.conflicts.filter((conflict) => conflict.key !== key),
})

export const theirsOf = (conflict, { segments }) => segments.filter(({ id }) => conflict.ids.includes(id))

/** The edits that make of the present text what the person chose: MINE, THEIRS or BOTH. */
export function resolution(conflict, choice, content) {
  const theirs = theirsOf(conflict, content)
  if (choice === THEIRS) return []
  if (choice === BOTH && theirs.length > 0) return [bothTexts(conflict.mine, theirs)]
  return replacing(theirs, conflict.mine, content)
}

export const [MINE, THEIRS, BOTH] = ['mine', 'theirs', 'both']

function bothTexts(mine, theirs) {
  const last = theirs.at(-1)
  return {
    kind: 'set_text',
    segment: last.id,
    text: mine.reduce((text, one) => joined(text, one.text), last.text).trim(),
  }
}

/** One by one as far as there are both; then what is too many goes, and what is missing is inserted. */
function replacing(theirs, mine, content) {
  const pairs = mine.slice(0, theirs.length).map((one, at) => [one, theirs[at]])
  const edits = pairs.flatMap(([one, their]) => changes(one, their))
  const extra = theirs.slice(mine.length).map(({ id }) => id)
  if (extra.length > 0) edits.push({ kind: 'delete', segments: extra })
  const missing = mine.slice(theirs.length)
  const after = theirs.at(-1)?.id ?? content.segments.findLast(({ start }) => start <= missing[0]?.start)?.id ?? null
  // In reverse, because each is inserted after the same segment.
  for (const { start, end, text } of missing.toReversed()) {
    edits.push({ kind: 'insert', after, start, end, text: text.trim() })
  }
  return edits
}

function changes(mine, their) {
  const edits = []
  if (mine.text.trim() !== their.text.trim())
    edits.push({ kind: 'set_text', segment: their.id, text: mine.text.trim() })
  if (mine.start !== their.start || mine.end !== their.end) {
    edits.push({ kind: 'set_times', segment: their.id, start: mine.start, end: mine.end })
  }
  return edits
}

// --- the server's history ---------------------------------------------------------------------------------------------

/**
 * local id -> the server's, if one of these steps of the server's history is the batch; else undefined.
 */
export function idsIfDone({ edits }, steps) {
  const done = steps.map(editsOf).find((one) => isSameStep(edits, one))
  if (!done) return undefined
  return new Map(edits.flatMap(({ local }, at) => (local === undefined ? [] : [[local, done[at].first_id]])))
}

/** The edits of a step of the history: one of several has them in its data. */
export const editsOf = ({ kind, data }) => (kind === 'several' ? data.edits : [{ kind, ...data }])

/** The server adds the ids of new segments. */
function isSameStep(edits, done) {
  const isSameValue = (edit, name, at) => JSON.stringify(edit[name]) === JSON.stringify(done[at]?.[name])
  const isSameEdit = (edit, at) => Object.keys(withoutLocal(edit)).every((name) => isSameValue(edit, name, at))
  return edits.length === done.length && edits.every(isSameEdit)
}

const withoutLocal = ({ local: _, ...edit }) => edit

function idsOf(edits) {
  return [...new Set(edits.flatMap((edit) => (namedBy(edit) === EVERY ? [] : namedBy(edit))))]
}

/** id -> what of each segment is needed to tell whether it was changed. */
function segmentsOf({ segments }, ids) {
  const wanted = new Set(ids)
  const found = segments.filter(({ id }) => wanted.has(id))
  return Object.fromEntries(found.map(({ id, start, end, text, speaker }) => [id, { id, start, end, text, speaker }]))
}
