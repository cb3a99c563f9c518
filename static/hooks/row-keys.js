/**
 * Arrow keys, Home and End move the focus from row to row of the queue, to the same control as far as a row has it. End
 * has the last group read to its end.
 */
import { heldId } from '../state/held-row.js'
import { groups, loadRest, shownIds } from '../state/store.js'
import { toastError } from '../state/toasts.js'

/** The keys of what has arrow keys of its own stay there. */
const OWN_KEYS = 'select, textarea, input:not([type="checkbox"]), [role="menu"]'

/** For the element around all rows. */
export function onRowKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return
  const id = event.target.closest('.task')?.dataset.taskId
  if (!id || event.target.closest(OWN_KEYS)) return
  const move = moves[event.key]
  if (!move) return
  event.preventDefault()
  move(id, event.target.dataset.testid)
}

const moves = {
  ArrowDown: (id, testid) => focusAt(placeOf(id) + 1, testid),
  ArrowUp: (id, testid) => focusAt(placeOf(id) - 1, testid),
  Home: (_, testid) => focusAt(0, testid),
  End: async (_, testid) => {
    const last = Object.entries(groups.peek()).findLast(([, tasks]) => tasks.length > 0)
    if (last) await loadRest(last[0]).catch(toastError)
    focusAt(shownIds.peek().length - 1, testid)
  },
}

const placeOf = (id) => shownIds.peek().indexOf(id)

function focusAt(place, testid) {
  const id = shownIds.peek()[place]
  if (id !== undefined) focusRow(id, testid)
}

/** Also a row that is out of view and not drawn yet. testid: of the control; the task's name unless the row has it. */
export function focusRow(id, testid = 'open') {
  heldId.value = id
  requestAnimationFrame(() => {
    const row = document.querySelector(`.task[data-task-id="${id}"]`)
    const target = row?.querySelector(`[data-testid="${testid}"]`) ?? row?.querySelector('[data-testid="open"]')
    target?.focus()
  })
}
