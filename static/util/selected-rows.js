/** Which segments a selection of text reaches into. */

/** The ids of their rows, in the order of the page; empty where nothing is selected. */
export function selectedSegments(root = document) {
  const selection = getSelection()
  if (!selection || selection.isCollapsed) return []
  const rows = [...root.querySelectorAll('.segment')].filter((row) => selection.containsNode(row, true))
  return rows.map((row) => Number(row.dataset.segment))
}
