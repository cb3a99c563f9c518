/** Where in a text the pointer is. */

/** The number of characters of `element`'s text before the place of the mouse event. */
export function caretAt({ clientX, clientY }, element) {
  const [node, offset] = placeAt(clientX, clientY)
  if (!node || !element.contains(node)) return element.textContent.length
  const before = document.createRange()
  before.setStart(element, 0)
  before.setEnd(node, offset)
  return before.toString().length
}

/** Safari knows only the older of the two. */
function placeAt(x, y) {
  if (document.caretPositionFromPoint) {
    const position = document.caretPositionFromPoint(x, y)
    return [position?.offsetNode, position?.offset]
  }
  const range = document.caretRangeFromPoint?.(x, y)
  return [range?.startContainer, range?.startOffset]
}
