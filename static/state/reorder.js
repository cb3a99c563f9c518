/** The order of waiting tasks, changed by hand: within a priority, because a higher one always comes first. */
import { signal } from '@preact/signals'
import { moveTask } from '../api.js'
import { t } from '../text/i18n.js'
import { announcement } from './news.js'
import { applyAnswer, groups, isFlat, isNarrowed, refreshLine, taskOf } from './store.js'
import { isWaiting, nameOfTask } from './task.js'
import { toastError } from './toasts.js'

/** The task that is being dragged, and where it would be dropped: {id, overId, isAfter}; null for none. */
export const drag = signal(null)

/** Only the whole line, in its own order, can be put in another. */
export const isMovable = (task) => isWaiting(task) && !isFlat.value && !isNarrowed.value

/** Of one priority and, where an admin sees everybody's, of one owner. */
const isPeer = (task, other) => other.priority === task.priority && other.owner === task.owner

/** The neighbour that a task moves past: {id, isAfter}, or null at either end. steps: -1 up, 1 down. */
export function neighbourOf(waiting, task, steps) {
  const peers = waiting.filter((other) => isPeer(task, other))
  const other = peers[peers.findIndex(({ id }) => id === task.id) + steps]
  return other ? { id: other.id, isAfter: steps > 0 } : null
}

/** Whether the task may be dropped beside the other. */
export const canDrop = (task, other) =>
  Boolean(other) && isWaiting(other) && other.id !== task.id && isPeer(task, other)

export async function moveBy(id, steps) {
  const task = taskOf(id)?.peek()
  if (!task || !isMovable(task)) return
  const neighbour = neighbourOf(groups.peek().waiting, task, steps)
  if (neighbour) await moveBeside(id, neighbour)
}

/** beside: {id, isAfter} of the task that it is put before or after. */
export async function moveBeside(id, beside) {
  try {
    await applyAnswer(moveTask(id, beside))
    await refreshLine()
  } catch (error) {
    toastError(error)
    return
  }
  const task = taskOf(id)?.peek()
  if (task?.position) announcement.value = t('move.done', { name: nameOfTask(task), position: task.position })
}
