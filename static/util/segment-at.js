/** The last segment that begins at or before `seconds`; null before the first. */
export function segmentAt(segments, seconds) {
  let [low, high] = [0, segments.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (segments[middle].start <= seconds + 0.01) low = middle + 1
    else high = middle
  }
  return segments[low - 1] ?? null
}
