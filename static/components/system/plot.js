/**
 * One plot: its curves with the figures of now, or of the moment that is pointed at in any of the plots.
 *
 * The names and figures above the canvas are plain text and say to a screen reader what the curves say to the eye.
 */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { drawn, styled } from '../../plots/colours.js'
import { plotOptions } from '../../plots/plot-options.js'
import { extremes } from '../../plots/stacking.js'
import { formatAgo, formatTime, t } from '../../text/i18n.js'

/** The index of the moment that is pointed at, in all plots, or null. */
export const pointed = signal(null)

const MARK_REACH_PX = 7
/** More than these would cover the curves. */
const MANY_MARKS = 30

/**
 * moments: seconds since 1970. curves: as plotoptions.js tells, highest last in a stack. changes: [{at, text}].
 * format: a figure with its unit. steps: as plotoptions.js tells. height: of the canvas, in pixels.
 */
export function Plot({ title, testid, moments, curves, changes, format, steps, height = 160, rangeSeconds }) {
  const box = useRef(null)
  const plot = useRef(null)
  const [tip, setTip] = useState(null)
  const [spoken, setSpoken] = useState('')
  const marks = useRef(changes)
  marks.current = changes
  const columns = [moments, ...curves.map((curve) => curve.drawnValues ?? curve.values)]
  const latest = useRef(columns)
  latest.current = columns
  const makeup = JSON.stringify([
    curves.map(({ key, kind, colour }) => [key, kind, colour]),
    rangeSeconds,
    height,
    title,
  ])

  useEffect(() => {
    const stop = draw(box.current, { curves, format, steps, height, rangeSeconds, latest, marks, setTip, plot })
    return stop
  }, [makeup])
  useEffect(() => plot.current?.setData(columns), [moments, curves])

  const onKey = (event) => {
    const index = movedIndex(event.key, pointed.peek(), moments.length)
    if (index === null || !plot.current) return
    event.preventDefault()
    plot.current.setCursor({ left: plot.current.valToPos(moments[index], 'x'), top: 1 }, true, true)
    setSpoken(spokenAt(index, moments, curves, format))
  }
  const leave = () => plot.current?.setCursor({ left: -10, top: -10 }, true, true)
  return html`<figure class="plot" data-testid=${testid}>
    <figcaption><h3>${title}</h3><${Legend} curves=${curves} format=${format} /></figcaption>
    <div class="plot-canvas" ref=${box} role="img" tabindex="0" aria-label=${`${summaryOf({ title, moments, curves, format })} ${t('plot.keys')}`}
      onKeyDown=${onKey} onBlur=${leave}>
      ${tip && html`<${Tip} tip=${tip} moments=${moments} />`}
    </div>
    <p class="unseen" role="status">${spoken}</p>
  </figure>`
}

function Legend({ curves, format }) {
  const index = pointed.value
  if (curves.length === 0) return html`<p class="faint">${t('plot.none')}</p>`
  return html`<ul class="plot-legend">
    ${curves.map(
      (curve) => html`<li key=${curve.key}>
      <i class="swatch ${curve.kind === 'line' ? 'is-line' : ''} ${curve.dash ? 'is-dashed' : ''}" style=${{ color: styled(curve.colour) }}></i>
      <span>${curve.label}</span> <b>${figure(index === null ? extremes(curve.values)?.last : curve.values[index], format)}</b>
    </li>`,
    )}
  </ul>`
}

const figure = (value, format) => (value == null ? t('plot.unknown') : format(value))

/** The moment below the pointer, and the change beside it where there is one. */
function Tip({ tip, moments }) {
  const seconds = moments[tip.index]
  if (seconds === undefined) return null
  return html`<div class="plot-tip is-${tip.side}" style=${{ left: `${tip.left}px` }} aria-hidden="true">
    <b>${formatTime(seconds * 1000)}</b> <span>${formatAgo(new Date(seconds * 1000).toISOString())}</span>
    ${tip.change && html`<p class="plot-tip-change">${tip.change.text}</p>`}
  </div>`
}

function summaryOf({ title, moments, curves, format }) {
  const from = formatTime(moments[0] * 1000)
  const to = formatTime(moments.at(-1) * 1000)
  const parts = curves.map(({ label, values }) => {
    const known = extremes(values)
    return (
      known &&
      t('plot.summary_part', { label, last: format(known.last), least: format(known.least), most: format(known.most) })
    )
  })
  return [t('plot.summary', { title, from, to }), ...parts.filter(Boolean)].join(' ')
}

function spokenAt(index, moments, curves, format) {
  const figures = curves.map(({ label, values }) => `${label} ${figure(values[index], format)}`)
  return [formatTime(moments[index] * 1000), ...figures].join(', ')
}

/** Where a key moves the pointed moment to, or null for other keys. */
function movedIndex(key, index, count) {
  const from = index ?? count
  const target = {
    ArrowLeft: from - 1,
    ArrowRight: from + 1,
    PageUp: from - 10,
    PageDown: from + 10,
    Home: 0,
    End: count - 1,
  }[key]
  return target === undefined ? null : Math.max(0, Math.min(count - 1, target))
}

/** Draws into `box` and keeps the width and the theme. Returns how to take it away. uPlot comes when it is first needed. */
function draw(box, { curves, format, steps, height, rangeSeconds, latest, marks, setTip, plot }) {
  let isGone = false
  const onDraw = (uplot) => drawMarks(uplot, marks.current)
  const onCursor = (uplot) => {
    pointed.value = uplot.cursor.left < 0 ? null : (uplot.cursor.idx ?? null)
    setTip(uplot.over.matches(':hover') || box.matches(':focus-visible') ? tipOf(uplot, marks.current) : null)
  }
  const watching = []
  import('uplot').then(({ default: UPlot }) => {
    if (isGone) return
    const options = plotOptions({
      width: box.clientWidth,
      height,
      curves,
      format,
      steps,
      rangeSeconds,
      hooks: { onDraw, onCursor },
    })
    const uplot = new UPlot(options, latest.current, box)
    plot.current = uplot
    const sizes = new ResizeObserver(() => box.clientWidth > 0 && uplot.setSize({ width: box.clientWidth, height }))
    sizes.observe(box)
    const themes = new MutationObserver(() => uplot.redraw(false, true))
    themes.observe(document.documentElement, { attributeFilter: ['data-theme'] })
    watching.push(sizes, themes)
  })
  return () => {
    isGone = true
    for (const observer of watching) observer.disconnect()
    plot.current?.destroy()
    plot.current = null
    setTip(null)
  }
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

/** Which way the words reach from the pointed moment, so that they stay inside. */
const sideOf = (share) => (share < 0.3 ? 'start' : share > 0.7 ? 'end' : 'middle')

/** A thin line with a diamond on top where the system changed something by itself. */
function drawMarks(uplot, changes) {
  const { ctx, bbox } = uplot
  const pixels = devicePixelRatio
  ctx.save()
  ctx.strokeStyle = ctx.fillStyle = drawn({ token: '--plot-change', alpha: 1 })
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
    diamond(ctx, x, bbox.top, 4 * pixels)
  }
  ctx.restore()
}

function diamond(ctx, x, y, radius) {
  ctx.beginPath()
  ctx.moveTo(x, y - radius)
  ctx.lineTo(x + radius, y)
  ctx.lineTo(x, y + radius)
  ctx.lineTo(x - radius, y)
  ctx.fill()
}
