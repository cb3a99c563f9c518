/** A task's row is drawn anew when the task moves to another group; whoever stood on it with the keyboard goes along. */
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'

export function useKeptFocus() {
  const held = useRef(null)
  useEffect(() => {
    const onFocus = ({ target }) => (held.current = placeOf(target))
    const onPointer = ({ target }) => {
      if (!target.closest?.('.task')) held.current = null
    }
    document.addEventListener('focusin', onFocus)
    document.addEventListener('pointerdown', onPointer)
    return () => {
      document.removeEventListener('focusin', onFocus)
      document.removeEventListener('pointerdown', onPointer)
    }
  }, [])
  useLayoutEffect(() => {
    if (held.current === null || held.current.element.isConnected || document.activeElement !== document.body) return
    const row = document.querySelector(`.task[data-task-id="${held.current.id}"]`)
    const again =
      row?.querySelector(`[data-testid="${held.current.testid}"]`) ?? row?.querySelector('[data-testid="open"]')
    if (again) again.focus({ preventScroll: true })
    else document.getElementById('queue')?.focus({ preventScroll: true })
  })
}

/** {element, id, testid} of something inside a task's row, else null. */
function placeOf(element) {
  const id = element.closest?.('.task')?.dataset.taskId
  return id ? { element, id, testid: element.dataset.testid } : null
}
