/** The selected tasks, and actions on one or several tasks. */
import { computed, signal } from '@preact/signals'
import * as api from '../api.js'
import { closeTask, openId } from '../util/address.js'
import * as store from './store.js'
import { toastError } from './toasts.js'

const AT_ONCE = 4
/** Keeps addresses short; further ids go into another archive. */
export const IDS_PER_ARCHIVE = 100

const chosen = signal(new Set())

/** Selected tasks that are still listed, in the order of the list. */
export const selectedIds = computed(() => store.shownIds.value.filter((id) => chosen.value.has(id)))
export const isSelected = (id) => chosen.value.has(id)

export function toggle(id) {
  const next = new Set(chosen.value)
  if (!next.delete(id)) next.add(id)
  chosen.value = next
}

export const selectAll = () => (chosen.value = new Set(store.shownIds.value))
export const clearSelection = () => (chosen.value = new Set())

/** The ids of selected tasks that pass `test`. */
export const selectedWhere = (test) => selectedIds.value.filter((id) => test(store.taskOf(id).value))

/** Runs `action` (id -> Promise) for every id, a few at a time. Only the first error is shown. */
async function runForEach(ids, action) {
  const left = [...ids]
  const errors = []
  const work = async () => {
    for (let id = left.shift(); id !== undefined; id = left.shift()) {
      await action(id).catch((error) => errors.push(error))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  if (errors.length) toastError(errors[0])
}

export const cancel = (ids) => runForEach(ids, (id) => store.applyAnswer(api.cancelTask(id)))
export const retry = (ids) => runForEach(ids, (id) => store.applyAnswer(api.retryTask(id)))

export const remove = (ids) =>
  runForEach(ids, async (id) => {
    await api.deleteTask(id)
    if (openId.peek() === id) closeTask()
    store.applyDeleted(id)
  })

export const changePriority = (id, priority) =>
  runForEach([id], () => store.applyAnswer(api.changeTask(id, { priority })))
