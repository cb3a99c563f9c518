/** Short messages that disappear by themselves, unless the pointer or the focus rests on them. */
import { signal } from '@preact/signals'
import { errorText } from '../text/messages.js'

const LIFE_MS = { info: 5000, error: 12000 }
const MOST = 3

let lastKey = 0
const timers = new Map()

/** [{key, tone, title, text}], oldest first. */
export const toasts = signal([])

export function toast(text, { tone = 'info', title = null } = {}) {
  const key = ++lastKey
  toasts.value = [...toasts.value, { key, tone, title, text }].slice(-MOST)
  release(key, tone)
  return key
}

/** Shows an ApiError. Any other error is a bug and is thrown on. */
export function toastError(error, title = null) {
  if (error.name !== 'ApiError') throw error
  toast(errorText(error), { tone: 'error', title })
}

export function dismiss(key) {
  hold(key)
  toasts.value = toasts.value.filter((entry) => entry.key !== key)
}

/** Keeps a message on the page for now. */
export function hold(key) {
  clearTimeout(timers.get(key))
  timers.delete(key)
}

/** Lets the message disappear after its time. */
export function release(key, tone) {
  hold(key)
  timers.set(
    key,
    setTimeout(() => dismiss(key), LIFE_MS[tone]),
  )
}
