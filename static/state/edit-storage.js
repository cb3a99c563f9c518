/**
 * Keeps unsent edits in the browser, each page's apart, and finds those that closed pages have left behind.
 *
 * It is localStorage, because that has written when the call returns: what was typed is kept even when the tab is closed
 * or the browser is killed with the next instruction, which IndexedDB does not promise.
 */
const ALL = 'whisper.edits.'
const CHANNEL = 'whisper.edits'
/** How long other pages have to say that they are there. Only a page that finds something left behind waits. */
const ANSWER_MS = 500

/** storage: what localStorage has. pageId: a page that is loaded again is another one. */
export class EditStorage {
  #storage
  #pageId
  #prefix

  /** account: who is logged in. What somebody else has left stays until they are. */
  constructor(storage, pageId, account = '') {
    this.#storage = storage
    this.#pageId = pageId
    this.#prefix = `${ALL}${encodeURIComponent(account).replaceAll('.', '%2E')}.`
  }

  /** Keeps the unsent edits of a task; `null` when there are none. Returns whether the browser could. */
  keep(taskId, outbox) {
    const key = this.#keyOf(taskId, this.#pageId)
    try {
      if (outbox === null) this.#storage.removeItem(key)
      else this.#storage.setItem(key, JSON.stringify(outbox))
      return true
    } catch {
      return outbox === null // There is no storage in a private window, or no room left in it.
    }
  }

  /** Whether another page has taken this page's edits of the task over, because it held this page to be closed. */
  isTaken(taskId) {
    return this.#read(this.#keyOf(taskId, this.#pageId))?.takenBy !== undefined
  }

  /** [{taskId, pageId}] of what other pages keep, open or closed. */
  others() {
    return this.#keys()
      .map((key) => key.slice(this.#prefix.length).split('.'))
      .filter(([, pageId]) => pageId !== undefined && pageId !== this.#pageId)
      .map(([taskId, pageId]) => ({ taskId, pageId }))
  }

  /** The unsent edits that a closed page has left, which are no longer that page's; null when there are none. */
  take({ taskId, pageId }) {
    const key = this.#keyOf(taskId, pageId)
    const outbox = this.#read(key)
    if (outbox === null || outbox.takenBy !== undefined) {
      this.#storage.removeItem(key)
      return null
    }
    // A page that was only asleep finds this, and lets the edits go.
    this.#storage.setItem(key, JSON.stringify({ takenBy: this.#pageId }))
    return outbox
  }

  #keyOf(taskId, pageId) {
    return `${this.#prefix}${taskId}.${pageId}`
  }

  #read(key) {
    try {
      return JSON.parse(this.#storage.getItem(key))
    } catch {
      return null
    }
  }

  #keys() {
    try {
      return Array.from({ length: this.#storage.length }, (_, at) => this.#storage.key(at)).filter((key) =>
        key?.startsWith(this.#prefix),
      )
    } catch {
      return []
    }
  }
}

/** Says to other pages that this one is open. Returns a function that resolves to the ids of those that answer. */
export function joinPages(pageId, channel = new BroadcastChannel(CHANNEL)) {
  let answered = new Set()
  channel.onmessage = ({ data }) => {
    if (data.isQuestion) channel.postMessage({ pageId })
    else answered.add(data.pageId)
  }
  return async (wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))) => {
    answered = new Set()
    channel.postMessage({ isQuestion: true })
    await wait(ANSWER_MS)
    return answered
  }
}
