/** Moves a waiting task within the line: dragged by it, or by the arrow keys while it has the focus. */
import { html } from 'htm/preact'
import { beginDrag } from '../hooks/row-drag.js'
import { moveBy } from '../state/reorder.js'
import { t } from '../text/i18n.js'
import { Icon } from './icons.js'

const STEPS = { ArrowUp: -1, ArrowDown: 1 }

export function MoveHandle({ id, name }) {
  const onKeyDown = (event) => {
    if (!(event.key in STEPS)) return
    event.preventDefault()
    moveBy(id, STEPS[event.key])
  }
  return html`<button type="button" class="round grip" aria-label=${t('move.handle_of', { name })} title=${t('move.handle')}
    data-testid="move" onPointerDown=${(event) => beginDrag(event, id)} onKeyDown=${onKeyDown}><${Icon} name="grip" /></button>`
}
