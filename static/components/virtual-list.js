/** A list of rows of which only those in view are drawn, however many there are. */
import { html } from 'htm/preact'
import { useVirtualRows } from '../hooks/use-virtual-rows.js'

/**
 * ids: of the rows, in order. Row: the component that draws one from {id, place, size}; its element has data-row-id, and
 * tells screen readers its place. total: how many there are, with those that are not loaded; null if that is not known.
 * guess: the height of a row in pixels, until one has been measured.
 */
export function VirtualList({ ids, Row, total = ids.length, guess }) {
  const { list, parts } = useVirtualRows(ids, guess)
  const size = total === null ? -1 : Math.max(total, ids.length)
  return html`<ul class="tasks" ref=${list} data-rows=${ids.length}>
    ${parts.map((part, index) =>
      part.gap === undefined
        ? html`<${Row} key=${ids[part.row]} id=${ids[part.row]} place=${part.row + 1} size=${size} />`
        : html`<${Gap} key=${index === parts.length - 1 ? 'gap-end' : `gap-${index}`} height=${part.gap} />`,
    )}
  </ul>`
}

const Gap = ({ height }) =>
  html`<li class="rows-gap" role="none" aria-hidden="true" style=${{ height: `${height}px` }}></li>`
