/** Why a task waits, kept up to date between two messages about it: a fetch goes on, and a delay runs down. */

const DELAYS = ['retry_delay', 'memory_delay']

/** Returns {code, data} or what the task says itself. fetches: of the system's state; now: milliseconds. */
export function waitReasonNow({ waiting, options, receivedAt }, fetches, now) {
  const fetching = fetches?.find((fetch) => fetch.model === options.model)
  if (fetching && !DELAYS.includes(waiting?.code)) {
    const fraction = fetching.total_bytes ? fetching.done_bytes / fetching.total_bytes : 0
    return { code: 'model_fetching', data: { model: fetching.model, fraction } }
  }
  if (!DELAYS.includes(waiting?.code) || waiting.data?.seconds === undefined) return waiting
  const passed = Math.max(0, Math.floor((now - receivedAt) / 1000))
  return { ...waiting, data: { ...waiting.data, seconds: Math.max(1, Math.round(waiting.data.seconds) - passed) } }
}
