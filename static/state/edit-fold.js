/**
 * What edits make of a transcript, so that the page shows them before the server has answered. The server's answer takes
 * the place of what is computed here; times of words, for one, are its affair.
 *
 * content: {segments: [{id, start, end, text, speaker?, words?}], speakers: {S1: name or null}}. Nothing is changed in
 * place: segments that an edit leaves alone stay the same objects, and are not drawn again.
 *
 * A segment that an edit makes has a negative id, the edit's `local`, until the server gives it one of its own.
 */

/** content after one edit. An edit of a segment that is gone changes nothing. */
export function applyEdit(content, edit) {
  return FOLDS[edit.kind]?.(content, edit) ?? content
}

export const applyEdits = (content, edits) => edits.reduce(applyEdit, content)

/** The ids of the segments that an edit changes, or EVERY. */
export function namedBy(edit) {
  if (edit.kind === 'shift') return EVERY
  if (edit.kind === 'insert') return edit.after === null ? [] : [edit.after]
  if (edit.segment !== undefined) return [edit.segment]
  return edit.segments ?? (edit.kind === 'replace' ? EVERY : [])
}

export const EVERY = 'all'

/** The local id of the segment that an edit makes, or undefined. */
export const madeBy = (edit) => edit.local

const FOLDS = {
  set_text: (content, { segment, text }) =>
    changing(content, [segment], (one) => ({ ...withoutWords(one), text: withLead(one.text, text) })),
  set_times: (content, { segment, start, end }) => changing(content, [segment], (one) => ({ ...one, start, end })),
  set_speaker: (content, { segments, speaker }) => ({
    ...changing(content, segments, (one) => ({ ...one, speaker })),
    speakers: speaker === null ? content.speakers : { [speaker]: null, ...content.speakers },
  }),
  name_speaker: (content, { speaker, name }) => ({ ...content, speakers: { ...content.speakers, [speaker]: name } }),
  merge_speakers: mergeSpeakers,
  split,
  merge,
  insert,
  delete: (content, { segments }) => ({
    ...content,
    segments: content.segments.filter(({ id }) => !segments.includes(id)),
  }),
  shift: (content, { seconds }) => ({ ...content, segments: content.segments.map((one) => shifted(one, seconds)) }),
  replace: (content, edit) => {
    const pattern = patternOf(edit)
    const named = namedBy(edit)
    const isNamed = named === EVERY ? () => true : (id) => named.includes(id)
    const segments = content.segments.map((one) => {
      const text = isNamed(one.id) ? one.text.replace(pattern, () => edit.replace) : one.text
      return text === one.text ? one : { ...withoutWords(one), text }
    })
    return { ...content, segments }
  },
}

function changing(content, ids, change) {
  return { ...content, segments: content.segments.map((one) => (ids.includes(one.id) ? change(one) : one)) }
}

/** The words' times fit the old text. */
function withoutWords({ words: _, ...segment }) {
  return segment
}

/** Whisper begins most segments with a space, which is no part of what a person types. */
function withLead(like, text) {
  const bare = text.trim()
  return bare && /^\s/.test(like) ? ` ${bare}` : bare
}

/** A name that only one of the two has is kept. */
function mergeSpeakers(content, { from, into }) {
  const { [from]: nameOfFrom, ...speakers } = content.speakers
  const segments = content.segments.map((one) => (one.speaker === from ? { ...one, speaker: into } : one))
  return { ...content, segments, speakers: { ...speakers, [into]: speakers[into] ?? nameOfFrom ?? null } }
}

/** at_char counts characters as Python does: one for each code point. */
function split(content, { segment, at_char, local }) {
  const at = content.segments.findIndex(({ id }) => id === segment)
  if (at < 0) return content
  const whole = content.segments[at]
  const characters = [...whole.text]
  const [before, behind] = [characters.slice(0, at_char).join(''), characters.slice(at_char).join('')]
  const lead = /\s$/.test(before) || /^\s/.test(behind) ? ' ' : ''
  const cut = cutTime(whole, at_char, characters.length)
  const first = { ...withoutWords(whole), end: cut, text: before.trimEnd() }
  const second = { ...withoutWords(whole), id: local, start: cut, text: lead + behind.trim() }
  return { ...content, segments: content.segments.toSpliced(at, 1, first, second) }
}

/** When the word at that place begins, else in proportion. */
function cutTime({ start, end, words }, atChar, length) {
  let heard = 0
  for (const { word, start: wordStart } of words ?? []) {
    if (heard + [...word].length > atChar) return wordStart
    heard += [...word].length
  }
  return start + (end - start) * (length ? atChar / length : 0)
}

function merge(content, { segments: [firstId, secondId] }) {
  const at = content.segments.findIndex(({ id }) => id === firstId)
  const [first, second] = content.segments.slice(at, at + 2)
  if (at < 0 || second?.id !== secondId) return content
  const merged = {
    ...withoutWords(first),
    end: Math.max(first.end, second.end),
    text: joined(first.text, second.text),
  }
  return { ...content, segments: content.segments.toSpliced(at, 2, merged) }
}

const UNSPACED = String.raw`[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303f\uff00-\uffef]`
const [ENDS_UNSPACED, STARTS_UNSPACED] = [new RegExp(`${UNSPACED}$`, 'u'), new RegExp(`^${UNSPACED}`, 'u')]

/** With a space between, except in scripts that have none. */
export function joined(first, second) {
  if (!first.trim() || !second.trim()) return first.trim() ? first : second
  if (/\s$/.test(first) || /^\s/.test(second)) return first + second
  return ENDS_UNSPACED.test(first) && STARTS_UNSPACED.test(second) ? first + second : `${first} ${second}`
}

function insert(content, { after, start, end, text, local }) {
  const at = after === null ? 0 : content.segments.findIndex(({ id }) => id === after) + 1
  if (after !== null && at === 0) return content
  const made = { id: local, start, end, text, ...speakerOf(content.segments[at - 1]) }
  return { ...content, segments: content.segments.toSpliced(at, 0, made) }
}

const speakerOf = (segment) => (segment?.speaker ? { speaker: segment.speaker } : {})

function shifted(segment, seconds) {
  const later = (moment) => Math.max(0, moment + seconds)
  const words = segment.words?.map((word) => ({ ...word, start: later(word.start), end: later(word.end) }))
  return { ...segment, start: later(segment.start), end: later(segment.end), ...(words && { words }) }
}

/** A regular expression that finds what `find`, taken literally, stands for. case: whether capitals matter. */
export function patternOf({ find, case: isCaseKept = false, whole_words: isWhole = false }) {
  const literal = find.replace(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`)
  const edges = isWhole ? [String.raw`(?<![\p{L}\p{N}_])`, String.raw`(?![\p{L}\p{N}_])`] : ['', '']
  return new RegExp(edges[0] + literal + edges[1], isCaseKept ? 'gu' : 'giu')
}

/** How often `find` occurs in the text of the segments. */
export function countMatches(segments, options) {
  if (!options.find) return 0
  const pattern = patternOf(options)
  return segments.reduce((sum, { text }) => sum + (text.match(pattern)?.length ?? 0), 0)
}
