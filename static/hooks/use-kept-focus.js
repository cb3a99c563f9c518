/**
 * Keeps the focus on a task: when it moves to another group of the queue, where its row is a new element, and when it is
 * scrolled out of view, where a long list draws no other rows.
 */
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { heldId } from '../state/held-row.js'
import { listen } from '../util/listen.js'

export function useKeptFocus() {
  const held = useRef(null)
  useEffect(() => {
    const hold = (place) => {
      held.current = place
      heldId.value = place?.id ?? null
    }
    const focusin = ({ target }) => hold(placeOf(target))
    const pointerdown = ({ target }) => {
      if (!target.closest?.('.task :is(button, a, input, select)')) hold(null)
    }
    return listen(document, { focusin, pointerdown })
  }, [])
  useLayoutEffect(() => {
    // A row that is moved within its list loses the focus, too.
    if (held.current === null || document.activeElement !== document.body) return
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
