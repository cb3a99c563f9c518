/** The current time in milliseconds as signals, for text that changes with it. A hidden page does not tick. */
import { signal } from '@preact/signals'

const SLOW_EVERY = 30

export const eachSecond = signal(Date.now())
export const eachHalfMinute = signal(Date.now())

let ticks = 0

function tick() {
  if (document.hidden) return
  eachSecond.value = Date.now()
  if (ticks++ % SLOW_EVERY === 0) eachHalfMinute.value = eachSecond.value
}

export function startTicker() {
  setInterval(tick, 1000)
  document.addEventListener('visibilitychange', () => {
    ticks = 0
    tick()
  })
}
