/** Draws only those rows of a long list that are in view. Heights are measured as rows are drawn, and guessed before. */
import { useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks'
import { heldId } from '../state/held-row.js'
import { eachFrameOfScrolling } from '../util/each-frame.js'
import { edgesOf, partsOf, rowsBetween } from '../util/virtual-rows.js'

/** Drawn beyond the window, above and below. */
const SPARE_PX = 400
const FIRST_DRAWN = 16

/**
 * ids: of all rows, in order. guess: a row's height in pixels before one was measured. Rows carry their id in
 * data-row-id. Returns {list, parts}: the ref for the list's element, and `partsOf` the list.
 */
export function useVirtualRows(ids, guess) {
  const list = useRef(null)
  const heights = useHeights(list, guess)
  const [range, setRange] = useState({ first: 0, end: FIRST_DRAWN })
  const edges = useMemo(() => edgesOf(ids.map(heights.of)), [ids, heights.version])
  const update = () => {
    if (list.current === null) return // A frame that was asked for before the list was taken away.
    const { top } = list.current.getBoundingClientRect()
    const next = rowsBetween(edges, -top - SPARE_PX, innerHeight - top + SPARE_PX)
    setRange((before) => (before.first === next.first && before.end === next.end ? before : next))
  }
  useLayoutEffect(update, [edges])
  useEffect(() => eachFrameOfScrolling(update), [edges])
  // The first and the last row, so that the Tab key finds its way into a list that is out of view.
  const held = [0, ids.length - 1, heldId.value === null ? -1 : ids.indexOf(heldId.value)]
  return { list, parts: partsOf(edges, range, held) }
}

/** {of(id), version}: the height of a row; version grows when heights have changed. */
function useHeights(list, guess) {
  const known = useRef(new Map())
  const [version, changed] = useReducer((count) => count + 1, 0)
  const observer = useRef(null)
  useEffect(() => () => observer.current?.disconnect(), [])
  useLayoutEffect(() => {
    // In the next frame, because what is drawn now must not change the sizes that are just being told.
    observer.current ??= new ResizeObserver((entries) => note(entries, known.current) && requestAnimationFrame(changed))
    for (const row of list.current.querySelectorAll('[data-row-id]')) observer.current.observe(row)
  })
  const usual = mean(known.current) ?? guess
  return { of: (id) => known.current.get(id) ?? usual, version }
}

/** Returns whether a height has changed. A row that was removed has none. */
function note(entries, known) {
  let isChanged = false
  for (const { target, borderBoxSize } of entries) {
    const height = borderBoxSize[0].blockSize
    if (height === 0 || known.get(target.dataset.rowId) === height) continue
    known.set(target.dataset.rowId, height)
    isChanged = true
  }
  return isChanged
}

function mean(known) {
  if (known.size === 0) return null
  let sum = 0
  for (const height of known.values()) sum += height
  return sum / known.size
}
