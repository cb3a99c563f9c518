/** Which segments a selection of text reaches into. */

/** The ids of their rows, in the order of the page; empty where nothing is selected. */
export function selectedSegments(root = document) {
  const selection = getSelection()
  if (!selection || selection.isCollapsed || selection.rangeCount === 0) return []
  const range = selection.getRangeAt(0)
  const rows = [...root.querySelectorAll('.segment')].filter((row) =>
    holdsText(range, row.querySelector('.segment-text')),
  )
  return rows.map((row) => Number(row.dataset.segment))
}

/** A selection of a whole paragraph ends where the next one begins, of which it holds nothing. */
function holdsText(range, element) {
  if (!element || !range.intersectsNode(element)) return false
  const part = document.createRange()
  part.selectNodeContents(element)
  if (range.compareBoundaryPoints(Range.START_TO_START, part) > 0)
    part.setStart(range.startContainer, range.startOffset)
  if (range.compareBoundaryPoints(Range.END_TO_END, part) < 0) part.setEnd(range.endContainer, range.endOffset)
  return part.toString().trim() !== ''
}
