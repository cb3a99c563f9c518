/**
 * The segments known of each task: streamed while it runs, whole when it is finished.
 *
 * The live feed says for every delivery how many segments came before it, so a delivery either fits, is stale, or shows
 * that something was missed; the caller then asks again.
 */
import { signal } from '@preact/signals'
import { fetchTranscript } from '../api.js'

const NOTHING = { segments: [], text: null, language: null, isFinal: false, isLoaded: false, error: null }

/** id -> {content: Signal, seq} */
const known = new Map()

function entryOf(id) {
  if (!known.has(id)) known.set(id, { content: signal(NOTHING), seq: 0 })
  return known.get(id)
}

/** A signal of {segments, text, language, isFinal, isLoaded, error}. */
export const transcriptOf = (id) => entryOf(id).content

export const segmentCount = (id) => entryOf(id).content.peek().segments.length

/**
 * Takes one delivery {id, seq, from, segments}. Returns false when earlier segments are missing, so that the caller
 * watches again from `segmentCount`; true otherwise, also for a stale delivery, which changes nothing.
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

/** The task begins anew: what was heard before no longer counts. */
export function resetTranscript(id) {
  const entry = known.get(id)
  if (!entry || (entry.seq === 0 && entry.content.peek() === NOTHING)) return
  entry.seq = 0
  entry.content.value = NOTHING
}

export const forgetTranscript = (id) => known.delete(id)

/** Asks the server for what there is; keeps what came live when that is more. */
export async function loadTranscript(id) {
  const entry = entryOf(id)
  const seqBefore = entry.seq
  try {
    takeWhole(entry, await fetchTranscript(id), seqBefore)
  } catch (error) {
    if (error.name !== 'ApiError') throw error
    entry.content.value = {
      ...entry.content.peek(),
      isLoaded: true,
      error: { code: error.code, message: error.message },
    }
  }
}

function takeWhole(entry, answer, seqBefore) {
  const content = entry.content.peek()
  const isFinal = answer.partial !== true
  if (content.isFinal && !isFinal) return
  const isOvertaken = !isFinal && entry.seq > seqBefore && content.segments.length > answer.segments.length
  const segments = isOvertaken ? content.segments : answer.segments
  entry.content.value = { segments, text: answer.text, language: answer.language, isFinal, isLoaded: true, error: null }
}

/** The text of the newest segment that has any, for the line below a running task. */
export function lastLine(content) {
  const segment = content.segments.findLast(({ text }) => text.trim() !== '')
  return segment?.text.trim() ?? ''
}

/** The last segment that begins at or before `seconds`; null before the first. */
export function segmentAt(segments, seconds) {
  let [low, high] = [0, segments.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (segments[middle].start <= seconds + 0.01) low = middle + 1
    else high = middle
  }
  return segments[low - 1] ?? null
}
