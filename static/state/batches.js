/** Batches of uploads that are not done yet, as the server sums them up. */
import { signal } from '@preact/signals'
import { cancelBatch, fetchBatches } from '../api.js'
import { accountName } from './account.js'
import { refresh } from './store.js'
import { toastError } from './toasts.js'

const MOST = 50
const PAUSE_MS = 3000
const UNFINISHED = ['pending', 'retrying', 'processing']

/** {id: batch} of those with work left, the latest first. */
export const batches = signal({})
let timer = null

/** How many of a batch's tasks are still to be done. */
export const leftOf = ({ counts }) => UNFINISHED.reduce((sum, status) => sum + (counts[status] ?? 0), 0)

/** An admin is told of everybody's, but follows only their own. */
const isFollowed = (batch) => leftOf(batch) > 0 && (batch.owner ?? accountName) === accountName

let reads = 0

/** Of overlapping calls only the newest counts. */
export async function readBatches() {
  const turn = ++reads
  const answer = await fetchBatches(MOST)
  if (turn !== reads) return
  batches.value = Object.fromEntries(answer.batches.filter(isFollowed).map((batch) => [batch.id, batch]))
}

/** Called with every task that has changed; what many changes come to is read once. */
export function noteBatchOf(task) {
  if (!task.batch || timer !== null) return
  timer = setTimeout(() => {
    timer = null
    readBatches().catch(() => {}) // The next change tries again.
  }, PAUSE_MS)
}

/** Cancels what is left of a batch. */
export async function cancelRestOf(id) {
  try {
    await cancelBatch(id, batches.peek()[id]?.owner)
    await Promise.all([readBatches(), refresh()])
  } catch (error) {
    if (error.code !== 'batch_not_found') toastError(error) // None of its files had arrived.
  }
}
