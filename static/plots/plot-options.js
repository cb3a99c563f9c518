/**
 * uPlot's options for one plot of the System view. Colours are functions, which uPlot calls whenever it draws.
 *
 * A curve is {key, label, colour: {token, alpha}, values, drawnValues?, kind, isOver?, dash?}:
 *   values       the figures that the legend shows
 *   drawnValues  where the line runs when it is stacked on others
 *   kind         'line', 'area' (lightly filled down to zero) or 'band' (filled)
 *   isOver       whether a band is filled down to the curve before it rather than to zero
 */
import { formatTime } from '../text/format.js'
import { drawn } from './colours.js'
import { isolated } from './stacking.js'

export const SYNC_KEY = 'system'
const DAY_S = 86400
/** The x axis spans at least this long, so that the first few samples are not stretched over the whole width. */
const SHORTEST_S = 120
const FILL_STRENGTH = { area: 0.16, band: 0.85 }
const Y_AXIS_WIDTH = 62
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'

/** Grid steps for an axis in seconds: round lengths of time. */
export const SPAN_STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  14400, 43200, 86400,
]

/** Grid steps for an axis of whole numbers. */
export const COUNT_STEPS = [1, 2, 5]
  .flatMap((first) => [1, 10, 100, 1e3, 1e4, 1e5].map((power) => first * power))
  .sort((a, b) => a - b)

/** steps: the distances between grid lines that uPlot may choose from, or undefined. hooks: {onDraw, onCursor}(uplot). */
export function plotOptions({ width, height, curves, format, steps, rangeSeconds, hooks }) {
  return {
    width,
    height,
    padding: [10, 22, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: false, y: false },
      sync: { key: SYNC_KEY, setSeries: false },
      points: {
        size: 8,
        width: 1.5,
        stroke: () => drawn({ token: '--surface', alpha: 1 }),
        fill: (_plot, index) => drawn(curves[index - 1].colour),
      },
    },
    scales: {
      x: { time: true, range: (plot) => timeRange(plot.data[0]) },
      y: { range: (_plot, least, most) => [least < 0 ? least * 1.08 : 0, niceTop(most)] },
    },
    axes: [xAxis(rangeSeconds), yAxis(format, steps)],
    series: [{}, ...curves.map(seriesOf)],
    bands: curves.flatMap((curve, index) =>
      curve.isOver ? [{ series: [index + 1, index], fill: () => drawn(curve.colour, FILL_STRENGTH[curve.kind]) }] : [],
    ),
    hooks: { draw: [hooks.onDraw], setCursor: [hooks.onCursor] },
  }
}

function seriesOf({ colour, kind, dash, isOver }) {
  const isFilled = kind !== 'line' && !isOver
  return {
    stroke: () => drawn(colour),
    width: kind === 'band' ? 1 : 1.75,
    dash,
    points: {
      show: false,
      filter: (plot, index) => isolated(plot.data[index]),
      size: 5,
      width: 0,
      fill: () => drawn(colour),
    },
    fill: isFilled ? () => drawn(colour, FILL_STRENGTH[kind]) : undefined,
  }
}

/** From the first to the last moment. By itself uPlot would show a whole day when there is only one moment. */
function timeRange(moments) {
  const last = moments.at(-1) ?? 0
  return [Math.min(moments[0] ?? 0, last - SHORTEST_S), last]
}

/** A little space above the highest figure, and a scale for a plot without any. */
const niceTop = (most) => (most > 0 ? most * 1.08 : 1)

const line = (token, width = 1) => ({ stroke: () => drawn({ token, alpha: 1 }), width })

function xAxis(rangeSeconds) {
  return {
    stroke: () => drawn({ token: '--ink-3', alpha: 1 }),
    font: FONT,
    size: 28,
    gap: 6,
    space: 70,
    grid: { show: false },
    ticks: { ...line('--line'), size: 4 },
    values: (_plot, moments) => moments.map((seconds) => xLabel(seconds, rangeSeconds)),
  }
}

/** The time for ranges up to a day; the date as well for longer ones, and the date alone at midnight. */
function xLabel(seconds, rangeSeconds) {
  if (seconds % 60 !== 0) return ''
  const moment = new Date(seconds * 1000)
  const isMidnight = moment.getHours() === 0 && moment.getMinutes() === 0
  if (rangeSeconds <= DAY_S) return formatTime(seconds * 1000, { now: seconds * 1000, hasSeconds: false })
  return formatTime(seconds * 1000, { now: 0, hasTime: !isMidnight, hasSeconds: false })
}

function yAxis(format, steps) {
  return {
    stroke: () => drawn({ token: '--ink-3', alpha: 1 }),
    font: FONT,
    size: Y_AXIS_WIDTH,
    gap: 6,
    space: 34,
    grid: line('--line'),
    ticks: { show: false },
    incrs: steps,
    values: (_plot, values) => values.map((value) => (value === 0 ? '0' : format(value))),
  }
}
