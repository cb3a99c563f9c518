/**
 * One plot: its curves, with the figures of the latest sample or of the one that is pointed at in any plot.
 *
 * The names and figures above the canvas are plain text, so that a screen reader can tell what the curves show.
 */
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { styled } from '../../plots/colours.js'
import { extremes } from '../../plots/stacking.js'
import { formatTime } from '../../text/format.js'
import { sentences, t } from '../../text/i18n.js'
import { formatAgo } from '../../text/messages.js'
import { mountPlot, pointed } from './plot-canvas.js'

/**
 * moments: seconds since 1970. curves: as plot-options.js describes them, the top of a stack last. changes: [{at, text}].
 * format: a figure with its unit. steps: of the y axis, as plot-options.js describes them. height: of the canvas in pixels.
 */
export function Plot({ title, testid, moments, curves, changes, format, steps, height = 160, rangeSeconds }) {
  const box = useRef(null)
  const [tip, setTip] = useState(null)
  const [spoken, setSpoken] = useState('')
  const columns = [moments, ...curves.map((curve) => curve.drawnValues ?? curve.values)]
  const refs = { plot: useRef(null), columns: useLatest(columns), changes: useLatest(changes) }
  const { plot } = refs
  // New figures are only handed to the plot; it is built anew when anything else about it changes.
  const makeup = JSON.stringify([
    curves.map(({ key, kind, colour }) => [key, kind, colour]),
    rangeSeconds,
    height,
    title,
  ])
  useEffect(() => mountPlot(box.current, { curves, format, steps, height, rangeSeconds }, refs, setTip), [makeup])
  useEffect(() => plot.current?.setData(columns), [moments, curves])

  const onKey = (event) => {
    const index = indexAfterKey(event.key, pointed.peek(), moments.length)
    if (index === null || !plot.current) return
    event.preventDefault()
    plot.current.setCursor({ left: plot.current.valToPos(moments[index], 'x'), top: 1 }, true, true)
    setSpoken(figuresAt(index, moments, curves, format))
  }
  const onBlur = () => plot.current?.setCursor({ left: -10, top: -10 }, true, true)
  const label = summaryOf({ title, moments, curves, format })
  return html`<figure class="plot" data-testid=${testid}>
    <figcaption><h3>${title}</h3><${Legend} curves=${curves} format=${format} /></figcaption>
    <div class="plot-canvas" ref=${box} role="img" tabindex="0" aria-label=${label} onKeyDown=${onKey} onBlur=${onBlur}>
      ${tip && html`<${Tip} tip=${tip} moments=${moments} />`}
    </div>
    <p class="unseen" role="status">${spoken}</p>
  </figure>`
}

/** A ref that always holds the value of the latest rendering. */
function useLatest(value) {
  const latest = useRef(value)
  latest.current = value
  return latest
}

function Legend({ curves, format }) {
  if (curves.length === 0) return html`<p class="faint">${t('plot.none')}</p>`
  return html`<ul class="plot-legend">
    ${curves.map((curve) => html`<${LegendEntry} key=${curve.key} curve=${curve} format=${format} />`)}
  </ul>`
}

function LegendEntry({ curve: { label, kind, dash, colour, values }, format }) {
  const index = pointed.value
  const value = index === null ? extremes(values)?.last : values[index]
  return html`<li>
    <i class="swatch ${kind === 'line' ? 'is-line' : ''} ${dash ? 'is-dashed' : ''}" style=${{ color: styled(colour) }}></i>
    <span>${label}</span> <b>${formatOrDash(value, format)}</b>
  </li>`
}

const formatOrDash = (value, format) => (value == null ? t('plot.unknown') : format(value))

/** The moment below the pointer, and the change near it where there is one. */
function Tip({ tip, moments }) {
  const seconds = moments[tip.index]
  if (seconds === undefined) return null
  return html`<div class="plot-tip is-${tip.side}" style=${{ left: `${tip.left}px` }} aria-hidden="true">
    <b>${formatTime(seconds * 1000)}</b> <span>${formatAgo(new Date(seconds * 1000).toISOString())}</span>
    ${tip.change && html`<p class="plot-tip-change">${tip.change.text}</p>`}
  </div>`
}

/** The whole plot in words: its time range, the last, least and largest figure of every curve, and how to move in it. */
function summaryOf({ title, moments, curves, format }) {
  const from = formatTime(moments[0] * 1000)
  const to = formatTime(moments.at(-1) * 1000)
  const parts = curves.map(({ label, values }) => {
    const known = extremes(values)
    if (known === null) return null
    const { last, least, most } = known
    return t('plot.summary_part', { label, last: format(last), least: format(least), most: format(most) })
  })
  return sentences(t('plot.summary', { title, from, to }), ...parts, t('plot.keys'))
}

function figuresAt(index, moments, curves, format) {
  const figures = curves.map(({ label, values }) => `${label} ${formatOrDash(values[index], format)}`)
  return [formatTime(moments[index] * 1000), ...figures].join(', ')
}

/** Which sample a key moves to, or null for any other key. index: the current one, null for none. */
function indexAfterKey(key, index, count) {
  const from = index ?? count
  const targets = {
    ArrowLeft: from - 1,
    ArrowRight: from + 1,
    PageUp: from - 10,
    PageDown: from + 10,
    Home: 0,
    End: count - 1,
  }
  return key in targets ? Math.max(0, Math.min(count - 1, targets[key])) : null
}
