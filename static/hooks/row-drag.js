/** Drags a waiting task to another place of the line, with a mouse, a pen or a finger. */
import { canDrop, drag, moveBeside } from '../state/reorder.js'
import { taskOf } from '../state/store.js'
import { listen } from '../util/listen.js'

/** This near to the window's upper and lower edge the page scrolls on. */
const EDGE_PX = 70
const SCROLL_PX = 14

/** For the pointerdown of a row's handle. */
export function beginDrag(event, id) {
  if (event.button !== 0) return
  event.preventDefault()
  let pointer = { x: event.clientX, y: event.clientY }
  let frame = 0
  drag.value = { id, overId: null, isAfter: false }
  const scroll = () => {
    const speed = pointer.y < EDGE_PX ? -SCROLL_PX : pointer.y > innerHeight - EDGE_PX ? SCROLL_PX : 0
    if (speed) scrollBy(0, speed)
    follow(id, pointer)
    frame = requestAnimationFrame(scroll)
  }
  const end = (isDropped) => {
    cancelAnimationFrame(frame)
    stop()
    const { overId, isAfter } = drag.peek()
    drag.value = null
    if (isDropped && overId !== null) moveBeside(id, { id: overId, isAfter })
  }
  const stop = listen(globalThis, {
    pointermove: ({ clientX, clientY }) => (pointer = { x: clientX, y: clientY }),
    pointerup: () => end(true),
    pointercancel: () => end(false),
    keydown: ({ key }) => key === 'Escape' && end(false),
  })
  frame = requestAnimationFrame(scroll)
}

/** Notes beside which task the dragged one would be dropped now. */
function follow(id, { x, y }) {
  const row = document.elementFromPoint(x, y)?.closest('.task[data-task-id]')
  const over = row && taskOf(row.dataset.taskId)?.peek()
  const task = taskOf(id)?.peek()
  const isPlace = task && canDrop(task, over)
  const middle = row ? row.getBoundingClientRect().top + row.offsetHeight / 2 : 0
  const next = { id, overId: isPlace ? over.id : null, isAfter: y > middle }
  const before = drag.peek()
  if (before.overId !== next.overId || before.isAfter !== next.isAfter) drag.value = next
}
