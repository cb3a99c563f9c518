/** The view and the open task are kept in the address, so that a reload, a link and the back button show the same. */
import { computed, signal } from '@preact/signals'

const SYSTEM = 'system'

const hash = signal(currentHash())
const parts = computed(() => new URLSearchParams(hash.value))

function currentHash() {
  return globalThis.location?.hash.slice(1) ?? ''
}

export const VIEWS = ['queue', SYSTEM]

/** One of VIEWS. */
export const view = computed(() => (parts.value.has(SYSTEM) ? SYSTEM : 'queue'))

/** The task whose transcript is open, or null. */
export const openId = computed(() => parts.value.get('task'))

/** What was searched for when the open task was chosen; its text opens with these words marked. */
export const openQuery = computed(() => (openId.value === null ? '' : (parts.value.get('q') ?? '')))

/** The second of the recording at which the open task begins, or null. */
export const openAt = computed(() => {
  const seconds = Number.parseFloat(parts.value.get('at'))
  return openId.value !== null && seconds >= 0 ? seconds : null
})

/** The address that opens a task in the current view. query: words to mark in its text. seconds: where it begins. */
export function taskAddress(id, { query = '', seconds = null } = {}) {
  const words = query ? `&q=${encodeURIComponent(query)}` : ''
  const moment = seconds === null ? '' : `&at=${seconds}`
  return `#${view.value === SYSTEM ? `${SYSTEM}&` : ''}task=${encodeURIComponent(id)}${words}${moment}`
}

export function followAddress() {
  addEventListener('hashchange', read)
  addEventListener('popstate', read)
}

function read() {
  hash.value = currentHash()
}

/** place: of taskAddress. */
export function openTask(id, place) {
  location.hash = taskAddress(id, place)
}

export function closeTask() {
  go(view.peek() === SYSTEM ? `#${SYSTEM}` : '')
}

export function showQueue() {
  if (view.peek() !== 'queue') go('')
}

/** Uses pushState, because assigning an empty hash leaves a bare # in the address and scrolls to the top. */
function go(newHash) {
  history.pushState(null, '', location.pathname + location.search + newHash)
  read()
}
