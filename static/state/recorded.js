/** How long a recording is, and what it is called. */

const ENDINGS = { 'audio/webm': 'webm', 'audio/mp4': 'm4a', 'audio/ogg': 'ogg' }

export const recordedMs = ({ phase, startedAt, before }, now) => before + (phase === 'recording' ? now - startedAt : 0)

/** What is shorter is a try, which nobody misses. */
const WORTH_ASKING_MS = 5000

/** Whether the person is asked before a recording of this length is discarded. */
export const isWorthAsking = (ms) => ms >= WORTH_ASKING_MS

/** `Recording 2026-11-29 14.05.webm` at that time of this machine; word: the first of it. */
export function recordingName(word, at, type) {
  const pad = (number) => String(number).padStart(2, '0')
  const day = [at.getFullYear(), pad(at.getMonth() + 1), pad(at.getDate())].join('-')
  return `${word} ${day} ${pad(at.getHours())}.${pad(at.getMinutes())}.${ENDINGS[type.split(';')[0]] ?? 'webm'}`
}
