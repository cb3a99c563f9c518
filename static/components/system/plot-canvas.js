/** Draws one plot with uPlot into an element, and keeps it right when the width or the theme changes. */
import { signal } from '@preact/signals'
import { drawn } from '../../plots/colours.js'
import { plotOptions } from '../../plots/plot-options.js'

/** The index of the sample that is pointed at in any plot, or null. All plots show the figures of that sample. */
export const pointed = signal(null)

/** How close the pointer must be to a mark for its change to be shown. */
const MARK_REACH_PX = 7
/** With more marks than this they are faint, so that the curves stay visible. */
const MANY_MARKS = 30

/**
 * Returns how to remove the plot again. uPlot itself is loaded when the first plot is drawn.
 *
 * spec: {curves, format, steps, height, rangeSeconds} as plotOptions takes them.
 * refs: {plot, columns, changes}. `plot.current` is set to the uPlot object; the others hold what is newest to draw.
 * setTip: called with {index, left, side, change} for the sample below the pointer, or null.
 */
export function mountPlot(box, spec, refs, setTip) {
  let isRemoved = false
  const observers = []
  import('uplot').then(({ default: UPlot }) => {
    if (isRemoved) return
    const options = plotOptions({ ...spec, width: box.clientWidth, hooks: hooksFor(box, refs.changes, setTip) })
    const uplot = new UPlot(options, refs.columns.current, box)
    refs.plot.current = uplot
    observers.push(...observe(box, uplot, spec.height))
  })
  return () => {
    isRemoved = true
    for (const observer of observers) observer.disconnect()
    refs.plot.current?.destroy()
    refs.plot.current = null
    setTip(null)
  }
}

function hooksFor(box, changes, setTip) {
  const onCursor = (uplot) => {
    pointed.value = uplot.cursor.left < 0 ? null : (uplot.cursor.idx ?? null)
    const isHere = uplot.over.matches(':hover') || box.matches(':focus-visible')
    setTip(isHere ? tipOf(uplot, changes.current) : null)
  }
  return { onDraw: (uplot) => drawMarks(uplot, changes.current), onCursor }
}

function observe(box, uplot, height) {
  const sizes = new ResizeObserver(() => box.clientWidth > 0 && uplot.setSize({ width: box.clientWidth, height }))
  sizes.observe(box)
  const themes = new MutationObserver(() => uplot.redraw(false, true))
  themes.observe(document.documentElement, { attributeFilter: ['data-theme'] })
  return [sizes, themes]
}

function tipOf(uplot, changes) {
  const { left, idx } = uplot.cursor
  if (left < 0 || idx == null) return null
  const near = changes.filter(({ at }) => Math.abs(uplot.valToPos(at, 'x') - left) <= MARK_REACH_PX)
  return {
    index: idx,
    left: left + uplot.over.offsetLeft,
    side: sideOf(left / uplot.over.clientWidth),
    change: near.at(-1) ?? null,
  }
}

/** Which way the tip extends from the pointer, so that it stays inside the plot. */
const sideOf = (share) => (share < 0.3 ? 'start' : share > 0.7 ? 'end' : 'middle')

/** A thin line with a diamond on top for every change that the system made by itself. */
function drawMarks(uplot, changes) {
  const { ctx, bbox } = uplot
  const pixels = devicePixelRatio
  const colour = drawn({ token: '--plot-change', alpha: 1 })
  ctx.save()
  ctx.strokeStyle = colour
  ctx.fillStyle = colour
  ctx.lineWidth = pixels
  ctx.globalAlpha = changes.length > MANY_MARKS ? 0.35 : 1
  ctx.setLineDash([4 * pixels, 3 * pixels])
  for (const { at } of changes) {
    const x = Math.round(uplot.valToPos(at, 'x', true)) + 0.5
    if (x < bbox.left || x > bbox.left + bbox.width) continue
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
    drawDiamond(ctx, x, bbox.top, 4 * pixels)
  }
  ctx.restore()
}

function drawDiamond(ctx, x, y, radius) {
  ctx.beginPath()
  ctx.moveTo(x, y - radius)
  ctx.lineTo(x + radius, y)
  ctx.lineTo(x, y + radius)
  ctx.lineTo(x - radius, y)
  ctx.fill()
}
