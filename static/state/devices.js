/** The devices of GET /api/system: their titles, their slots and the tasks in them. */
import { t } from '../text/i18n.js'
import { secondsLeft } from '../util/countdown.js'

/** A device's title where it says more than the name. A card's is a name; a processor's is said in words. */
export function titleOf({ name, title }) {
  const threads = /^CPU, (\d+) threads$/.exec(title ?? '')?.[1]
  if (threads) return t('devices.cpu', { count: Number(threads) })
  return title && title !== name ? title : null
}

/**
 * {taken: [task], free: number}. When the limit has just been lowered, more tasks run than there are slots; all of them
 * are taken.
 */
export function slotsOf({ slots = 0, tasks = [] }) {
  return { taken: tasks, free: Math.max(0, slots - tasks.length) }
}

/**
 * A device's task with the newer figures of the live feed: progress comes after every window, reports of the system come
 * less often. live: the task as the list has it, or undefined. now: milliseconds.
 */
export function withLiveProgress(task, live, now) {
  if (live?.status !== 'processing') return task
  const left = live.eta_seconds == null ? task.eta_seconds : secondsLeft(live.eta_seconds, live.receivedAt, now)
  return { ...task, progress: Math.max(task.progress ?? 0, live.progress), eta_seconds: left }
}

/** How many tasks may run at the same time: the limit, or the devices' slots where they are fewer. */
export function allowedTasks({ devices = [], limits }) {
  const slots = devices.reduce((sum, device) => sum + (device.slots ?? 1), 0)
  return Math.min(limits?.max_concurrent_tasks ?? slots, slots)
}
