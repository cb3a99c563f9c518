/** What is used of the server's disk, as far as the person may know. */
import { signal } from '@preact/signals'
import { fetchStorage } from '../api.js'

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
