/** A device's places for tasks, taken and free. */

/**
 * device: an entry of GET /api/system's devices. Returns {taken: [task], free: number}; a task that runs although there
 * are fewer slots now (they were just lowered) is shown all the same.
 */
export function slotsOf({ slots = 0, tasks = [] }) {
  return { taken: tasks, free: Math.max(0, slots - tasks.length) }
}

/** Live figures over those of the last report: progress comes window by window, reports come seldom. */
export function withLiveProgress(task, live, now) {
  if (live?.status !== 'processing') return task
  const passed = Math.max(0, (now - live.receivedAt) / 1000)
  const left = live.eta_seconds == null ? task.eta_seconds : Math.max(1, live.eta_seconds - passed)
  return { ...task, progress: Math.max(task.progress ?? 0, live.progress), eta_seconds: left }
}
