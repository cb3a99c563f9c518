/** Files that were refused, so that their names and the reasons outlive a reload. Kept for this tab only. */

const KEY = 'whisper.refused'
const MOST = 500

/** [{name, size, model, error}], oldest first; empty where nothing can be kept. */
export function refusedBefore(storage = globalThis.sessionStorage) {
  try {
    const kept = JSON.parse(storage.getItem(KEY))
    return Array.isArray(kept) ? kept.filter(({ name, error }) => typeof name === 'string' && Boolean(error?.code)) : []
  } catch {
    return []
  }
}

export function keepRefused(files, storage = globalThis.sessionStorage) {
  try {
    if (files.length === 0) storage.removeItem(KEY)
    else storage.setItem(KEY, JSON.stringify(files.slice(-MOST)))
  } catch {
    // A private window, or no space left.
  }
}
