/** Where the model was not sure of what it heard. */
import { preference } from '../util/preferences.js'

/** Whether doubtful words and segments are marked. */
export const showsDoubts = preference('doubts', false)

const LEAST_PROBABILITY = 0.5 // Of a word: another one was as likely.
/** openai-whisper's own limits: what is beyond them it decodes again, or takes for silence. */
const LEAST_LOGPROB = -1
const MOST_COMPRESSION = 2.4
const MOST_SILENCE = 0.6

export const isDoubtfulWord = ({ probability }) => probability != null && probability < LEAST_PROBABILITY

/** Why a segment is doubtful: 'repeats', 'silence' or 'unsure'; null when it is not. */
export function doubtOf({ compression_ratio: compression, no_speech_prob: silence, avg_logprob: logprob }) {
  if (compression > MOST_COMPRESSION) return 'repeats'
  if (silence > MOST_SILENCE) return 'silence'
  return logprob < LEAST_LOGPROB ? 'unsure' : null
}

/** Whether anything in a segment is doubtful. */
export const isDoubtful = (segment) => doubtOf(segment) !== null || (segment.words ?? []).some(isDoubtfulWord)

/** Every doubtful place as {id, start}: a segment, or words one after the other in one that is not doubtful itself. */
export function doubtsIn(segments) {
  return segments.flatMap((segment) => {
    if (doubtOf(segment)) return [{ id: segment.id, start: segment.start }]
    const words = segment.words ?? []
    return words
      .filter((word, index) => isDoubtfulWord(word) && !(index > 0 && isDoubtfulWord(words[index - 1])))
      .map(({ start }) => ({ id: segment.id, start }))
  })
}

/** The first of the places after `seconds`, or the first of all; undefined when there is none. */
export const nextDoubt = (places, seconds) => places.find(({ start }) => start > seconds + 0.05) ?? places[0]
