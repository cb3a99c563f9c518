/** File names of tasks that are mentioned only by id: from the list, from what runs on a device, or seen earlier. */
import { system, taskOf } from './store.js'
import { nameOfTask } from './task.js'

const seen = new Map()

/** The file name, or the end of the id when the name is not known. */
export function nameOf(id) {
  const task = taskOf(id)?.value
  const name = task ? nameOfTask(task) : runningName(id)
  if (name) seen.set(id, name)
  return seen.get(id) ?? `…${id.slice(-6)}`
}

function runningName(id) {
  for (const device of system.value?.devices ?? []) {
    const task = device.tasks?.find((one) => one.id === id)
    if (task) return task.filename
  }
  return undefined
}
