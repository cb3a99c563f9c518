/**
 * The segments of each task: streamed while it runs, complete when it is finished.
 *
 * Every delivery of the live feed says how many segments come before it. So it either fits, or is stale, or shows that
 * something was missed, and the caller asks again.
 */
import { signal } from '@preact/signals'
import { fetchTranscript } from '../api.js'

const NOTHING = {
  segments: [],
  text: null,
  language: null,
  precision: null,
  hasCoarseTimes: false,
  speakers: {},
  version: 0,
  isFinal: false,
  isLoaded: false,
  error: null,
}

/** id -> {content: Signal, seq} */
const known = new Map()

function entryOf(id) {
  if (!known.has(id)) known.set(id, { content: signal(NOTHING), seq: 0 })
  return known.get(id)
}

/**
 * A signal of {segments, text, language, precision, hasCoarseTimes, speakers, version, isFinal, isLoaded, error}. speakers:
 * id -> name or null. version: the number of the last edit; 0 for the original.
 */
export const transcriptOf = (id) => entryOf(id).content

export const segmentCount = (id) => entryOf(id).content.peek().segments.length

/**
 * Applies one delivery {id, seq, from, segments}. Returns false when earlier segments are missing; the caller then
 * watches again from `segmentCount`. A stale delivery changes nothing and returns true.
 */
export function applySegments({ id, seq, from, segments }) {
  const entry = entryOf(id)
  const content = entry.content.peek()
  if (content.isFinal || seq < entry.seq) return true
  if (from > content.segments.length) return false
  entry.seq = seq
  entry.content.value = { ...content, segments: [...content.segments.slice(0, from), ...segments], error: null }
  return true
}

/** Drops the text of a task that starts over. */
export function resetTranscript(id) {
  const entry = known.get(id)
  if (!entry || (entry.seq === 0 && entry.content.peek() === NOTHING)) return
  entry.seq = 0
  entry.content.value = NOTHING
}

export const forgetTranscript = (id) => known.delete(id)

const completionListeners = []

/** listener: called with the id of a task and its transcript whenever a complete one was read. */
export const onComplete = (listener) => completionListeners.push(listener)

/** Shows the text as it is edited. */
export function putEdited(id, { segments, speakers, version }) {
  const entry = entryOf(id)
  entry.content.value = { ...entry.content.peek(), segments, speakers, version }
}

/** Reads the text from the server, unless the live feed has delivered more meanwhile. */
export async function loadTranscript(id) {
  const entry = entryOf(id)
  const seqBefore = entry.seq
  try {
    const answer = await fetchTranscript(id)
    applyAnswer(entry, answer, seqBefore)
    if (answer.partial !== true) for (const listener of completionListeners) listener(id, answer)
  } catch (error) {
    if (error.name !== 'ApiError') throw error
    entry.content.value = {
      ...entry.content.peek(),
      isLoaded: true,
      error: { code: error.code, message: error.message },
    }
  }
}

function applyAnswer(entry, answer, seqBefore) {
  const content = entry.content.peek()
  const isFinal = answer.partial !== true
  if (content.isFinal && !isFinal) return
  const isOutdated = !isFinal && entry.seq > seqBefore && content.segments.length > answer.segments.length
  const segments = isOutdated ? content.segments : answer.segments
  const { text, language, precision, coarse_times: hasCoarseTimes = false, speakers = {}, version = 0 } = answer
  const about = { text, language, precision, hasCoarseTimes, speakers: speakers ?? {}, version }
  entry.content.value = { segments, ...about, isFinal, isLoaded: true, error: null }
}

/** The text of the newest segment that has any, for the line below a running task. */
export function lastLine(content) {
  const segment = content.segments.findLast(({ text }) => text.trim() !== '')
  return segment?.text.trim() ?? ''
}

/** The last segment that begins at or before `seconds`; null before the first. */
export const segmentAt = (segments, seconds) => segments[lastBegun(segments, seconds)] ?? null

/** The index of the word being said, or of the last one before a pause; -1 where there is none. words: may be undefined. */
export const wordAt = (words, seconds) => lastBegun(words ?? [], seconds)

/** timed: [{start}] in order. */
function lastBegun(timed, seconds) {
  let [low, high] = [0, timed.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (timed[middle].start <= seconds + 0.01) low = middle + 1
    else high = middle
  }
  return low - 1
}
