/** Keeps the focus on a task when it moves to another group of the queue, where its row is a new element. */
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { listen } from '../util/listen.js'

export function useKeptFocus() {
  const held = useRef(null)
  useEffect(() => {
    const focusin = ({ target }) => (held.current = placeOf(target))
    const pointerdown = ({ target }) => {
      if (!target.closest?.('.task')) held.current = null
    }
    return listen(document, { focusin, pointerdown })
  }, [])
  useLayoutEffect(() => {
    if (held.current === null || held.current.element.isConnected || document.activeElement !== document.body) return
    const { id, testid } = held.current
    const row = document.querySelector(`.task[data-task-id="${id}"]`)
    const same = row?.querySelector(`[data-testid="${testid}"]`) ?? row?.querySelector('[data-testid="open"]')
    const target = same ?? document.getElementById('queue')
    target?.focus({ preventScroll: true })
  })
}

/** {element, id, testid} of an element inside a task's row, else null. */
function placeOf(element) {
  const id = element.closest?.('.task')?.dataset.taskId
  return id ? { element, id, testid: element.dataset.testid } : null
}
