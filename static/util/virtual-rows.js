/**
 * Which rows of a long list are drawn: those in view with some more on both sides, and some that are held. The rest is
 * empty space of the same height, so that the page's scroll bar stays true.
 */

/** How many rows come and go together, so that not every turn of a wheel draws the list again. */
const STEP = 8

/** Where each row begins and the last one ends, in pixels from the top of the list. */
export function edgesOf(heights) {
  const edges = new Float64Array(heights.length + 1)
  for (let index = 0; index < heights.length; index += 1) edges[index + 1] = edges[index] + heights[index]
  return edges
}

/** {first, end} of the rows that reach into the stretch from `from` to `to`, rounded to whole steps. */
export function rowsBetween(edges, from, to) {
  const count = edges.length - 1
  if (to <= 0) return { first: 0, end: 0 }
  if (from >= edges[count]) return { first: count, end: count }
  const first = Math.max(0, countAtOrBefore(edges, from) - 1)
  const end = Math.min(count, countAtOrBefore(edges, to))
  return { first: first - (first % STEP), end: Math.min(count, Math.ceil(end / STEP) * STEP) }
}

/** How many of the ascending edges are at or before the place. */
function countAtOrBefore(edges, place) {
  let [low, high] = [0, edges.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (edges[middle] <= place) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * What the list consists of, from top to bottom: {row: index} of rows that are drawn, {gap: pixels} for those between them.
 * held: indices of rows that are drawn wherever they are; those that there are not, such as -1, count for nothing.
 */
export function partsOf(edges, { first, end }, held = []) {
  const count = edges.length - 1
  const drawn = new Set(held.filter((row) => row >= 0 && row < count))
  for (let row = Math.min(first, count); row < Math.min(end, count); row += 1) drawn.add(row)
  const parts = []
  let next = 0
  for (const row of [...drawn].sort((a, b) => a - b)) {
    if (row > next) parts.push({ gap: edges[row] - edges[next] })
    parts.push({ row })
    next = row + 1
  }
  if (next < count) parts.push({ gap: edges[count] - edges[next] })
  return parts
}
