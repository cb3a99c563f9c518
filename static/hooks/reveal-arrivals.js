/** Scrolls what has just arrived into view. Never moves the focus, and stops once the person moves about themselves. */
import { effect } from '@preact/signals'
import { heldId } from '../state/held-row.js'
import { isListed } from '../state/store.js'
import { arrival } from '../state/uploads.js'
import { listen } from '../util/listen.js'
import { scrollBehavior } from '../util/preferences.js'

/** When to scroll to an upload, and to the task it became: its place is settled once the rest of the drop is in too. */
const UPLOAD_DELAY_MS = 50
const TASK_DELAY_MS = 800

let hasMoved = false

/** Follows the first file of a drop from its upload to its task. Returns how to stop. */
export function revealArrivals() {
  let lastKey = null
  const onMove = () => (hasMoved = true)
  const moves = { wheel: onMove, touchmove: onMove, keydown: onMove, pointerdown: onMove }
  const stopListening = listen(globalThis, moves, { passive: true })
  const stopEffect = effect(() => {
    const arrived = arrival.value
    if (arrived === null) return
    if (arrived.key !== lastKey) hasMoved = false
    lastKey = arrived.key
    // The row is drawn only after this.
    const delay = arrived.taskId === null ? UPLOAD_DELAY_MS : TASK_DELAY_MS
    setTimeout(() => !hasMoved && show(arrived), delay)
  })
  return () => {
    stopEffect()
    stopListening()
  }
}

function show(arrived) {
  // In a long list a row is drawn only when it is in view or held.
  if (arrived.batchId === null && arrived.taskId !== null && isListed(arrived.taskId)) heldId.value = arrived.taskId
  requestAnimationFrame(() => reveal(rowOf(arrived)))
}

/** Of many files the row of their batch, which stays where it is; of a single one its own row, and then its task's. */
function rowOf({ key, batchId, taskId }) {
  if (batchId !== null) return taskId === null ? document.querySelector(`[data-batch-id="${batchId}"]`) : null
  return document.querySelector(taskId === null ? `[data-upload-key="${key}"]` : `.task[data-task-id="${taskId}"]`)
}

function reveal(row) {
  if (!row || isInView(row.getBoundingClientRect(), innerHeight)) return
  row.scrollIntoView({ block: 'nearest', behavior: scrollBehavior() })
}

/** The upper part of a row is enough. */
const isInView = ({ top, height }, windowHeight) => top >= 0 && top + Math.min(height, 80) <= windowHeight
