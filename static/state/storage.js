/** What is used of the server's disk, as far as the person may know. */
import { signal } from '@preact/signals'
import { fetchStorage } from '../api.js'

/** Longer than the server keeps its answer where there are few files. */
const PAUSE_MS = 1500

/** The answer of GET /api/system/storage, or null before the first. */
export const storage = signal(null)

/** Never rejects: without an answer the last one stays. */
export async function readStorage() {
  try {
    storage.value = await fetchStorage()
  } catch (error) {
    if (error.name !== 'ApiError') throw error
  }
}

let timer = null

/** Called when something may have come or gone; what many changes come to is read once. */
export function noteStored() {
  if (timer !== null || storage.peek() === null) return
  timer = setTimeout(() => {
    timer = null
    if (!document.hidden) readStorage()
  }, PAUSE_MS)
}
