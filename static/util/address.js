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

/** The address that opens a task in the current view. */
export const taskAddress = (id) => `#${view.value === SYSTEM ? `${SYSTEM}&` : ''}task=${encodeURIComponent(id)}`

export function followAddress() {
  addEventListener('hashchange', read)
  addEventListener('popstate', read)
}

function read() {
  hash.value = currentHash()
}

export function openTask(id) {
  location.hash = taskAddress(id)
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
