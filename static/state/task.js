/** The states and priorities of a task. */

export const RUNNING = 'processing'
export const WAITING = ['pending', 'retrying']
export const FINISHED = ['completed', 'failed', 'cancelled']
/** Of files that never became tasks: shown as a status, though the server knows nothing of it. */
export const REFUSED = 'refused'
export const STATUSES = [RUNNING, ...WAITING, 'completed', 'failed', 'cancelled']
export const PRIORITIES = ['low', 'normal', 'high']

/** What people call it. */
export const nameOfTask = (task) => task.title || task.filename

export const isRunning = (task) => task.status === RUNNING
export const isWaiting = (task) => WAITING.includes(task.status)
export const isFinished = (task) => !isRunning(task) && !isWaiting(task)
export const isCompleted = (task) => task.status === 'completed'
/** Whether it transcribes nothing, but tells the speakers of another task apart. */
export const onlyTellsSpeakers = ({ options }) => Boolean(options.speakers) && options.clip_timestamps === '0,0'
export const canRetry = (task) => task.status === 'failed' || task.status === 'cancelled'
