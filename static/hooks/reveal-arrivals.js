/** Brings what just arrived into view, calmly: never the focus, and not after the person has begun to move about. */
import { effect } from '@preact/signals'
import { arrival } from '../state/uploads.js'

const MOVES = ['wheel', 'touchmove', 'keydown', 'pointerdown']

let hasMoved = false

/** Follows the first file of a drop from its upload to its task. Returns how to stop. */
export function revealArrivals() {
  let lastKey = null
  const onMove = () => (hasMoved = true)
  for (const name of MOVES) addEventListener(name, onMove, { passive: true })
  const stop = effect(() => {
    const arrived = arrival.value
    if (arrived === null) return
    if (arrived.key !== lastKey) hasMoved = false
    lastKey = arrived.key
    // Its row is drawn after this; a task's place is settled once the other files of the drop are in as well.
    setTimeout(() => !hasMoved && reveal(rowOf(arrived)), arrived.taskId === null ? 50 : 800)
  })
  return () => {
    stop()
    for (const name of MOVES) removeEventListener(name, onMove)
  }
}

const rowOf = ({ key, taskId }) =>
  document.querySelector(taskId === null ? `[data-upload-key="${key}"]` : `.task[data-task-id="${taskId}"]`)

function reveal(row) {
  if (!row || isInView(row.getBoundingClientRect(), innerHeight)) return
  const isCalm = matchMedia('(prefers-reduced-motion: reduce)').matches
  row.scrollIntoView({ block: 'nearest', behavior: isCalm ? 'auto' : 'smooth' })
}

/** A row that shows its upper part is seen. */
export const isInView = ({ top, height }, windowHeight) => top >= 0 && top + Math.min(height, 80) <= windowHeight
