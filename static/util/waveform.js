/** How a waveform is drawn: as bars of the loudness that their part of the recording has on average. */

/** Of a bar and the gap after it, in pixels. */
const BAR = 2
const GAP = 1
/** Nearly all peaks are quieter than what has the full height, so that one bang does not make all else flat. */
const NEARLY_ALL = 0.995
/** Above one, so that what is quiet and what is loud look different where each bar stands for many seconds. */
const CONTRAST = 1.2

/** The peaks of a recording of `seconds`, which may be longer than its sound, or shorter where it is damaged. */
export function fitted({ peaks, secondsPerPeak }, seconds) {
  const count = Math.max(1, Math.round(seconds / secondsPerPeak))
  if (!seconds || Math.abs(count - peaks.length) < peaks.length / 200) return peaks
  const all = new Float32Array(count)
  all.set(peaks.subarray(0, count))
  return all
}

/** The peak that has the full height. */
export function fullHeight(peaks) {
  const sorted = Float32Array.from(peaks).sort()
  return sorted[Math.floor((sorted.length - 1) * NEARLY_ALL)] || 1
}

/** The heights of `count` bars, from 0 to 1. loudest: of fullHeight. */
export function barHeights(peaks, count, loudest) {
  const stride = peaks.length / count
  return Array.from({ length: count }, (_, bar) => {
    const first = Math.floor(bar * stride)
    const last = Math.max(first + 1, Math.floor((bar + 1) * stride))
    let sum = 0
    for (let at = first; at < last; at += 1) sum += peaks[at] ?? 0
    return Math.min(1, sum / (last - first) / loudest) ** CONTRAST
  })
}

/** Draws the peaks over the whole canvas, whose colour is set. */
export function drawBars(peaks, context, loudest) {
  const { width, height } = context.canvas
  const ratio = globalThis.devicePixelRatio || 1
  const step = (BAR + GAP) * ratio
  const heights = barHeights(peaks, Math.max(1, Math.floor(width / step)), loudest)
  context.beginPath()
  heights.forEach((share, bar) => {
    const tall = Math.max(ratio, share * height)
    context.roundRect(bar * step, (height - tall) / 2, BAR * ratio, tall, ratio)
  })
  context.fill()
}
