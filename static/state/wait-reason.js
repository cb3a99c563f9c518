/** Why a task waits, kept up to date between two reports about it: a download goes on, and a delay runs down. */
import { secondsSince } from '../util/countdown.js'
import { fetchedShare } from './model-fetches.js'

const DELAYS = ['retry_delay', 'memory_delay']

/**
 * {code, data}, or null when no reason is known. fetching: the download of the task's model, or null. now: milliseconds.
 */
export function waitReasonNow({ waiting, options, receivedAt }, fetching, now) {
  const isDelay = DELAYS.includes(waiting?.code)
  if (fetching && !isDelay) {
    return { code: 'model_fetching', data: { model: options.model, fraction: fetchedShare(fetching) } }
  }
  if (!isDelay || waiting.data?.seconds === undefined) return waiting
  const passed = Math.floor(secondsSince(receivedAt, now))
  return { ...waiting, data: { ...waiting.data, seconds: Math.max(1, Math.round(waiting.data.seconds) - passed) } }
}
