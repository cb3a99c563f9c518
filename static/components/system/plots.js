/** The plots of the System view, all over the same time range. */
import { html } from 'htm/preact'
import { useMemo } from 'preact/hooks'
import { bandColour, modelColour } from '../../plots/colours.js'
import { extraCurve, queueCurves, speedCurves, throughputCurve, waitCurves } from '../../plots/curves.js'
import { devicesIn, memoryBands } from '../../plots/memory-bands.js'
import { COUNT_STEPS, SPAN_STEPS } from '../../plots/plot-options.js'
import { stacked } from '../../plots/stacking.js'
import { history, refreshSeconds } from '../../state/history.js'
import { tuningText } from '../../text/event-text.js'
import { formatBytes, formatRounded, formatSpan, formatWait } from '../../text/format.js'
import { t } from '../../text/i18n.js'
import { language } from '../../text/language.js'
import { Plot } from './plot.js'

const colour = (token, alpha = 1) => ({ token, alpha })
const DASH = [6, 4]
const QUEUE_COLOURS = { running: '--plot-running', waiting: '--plot-waiting', retrying: '--plot-retrying' }
const formatTimes = (value) => t('plot.times', { speed: formatRounded(value) })

export function Plots() {
  const answer = history.value
  const labelLanguage = language.value
  // Once per answer, not at every movement of the pointer.
  const specs = useMemo(() => (answer ? specsOf(answer) : []), [answer, labelLanguage])
  if (answer === null) return html`<p class="blank" aria-busy="true">${t('plot.loading')}</p>`
  if (answer.samples.length === 0) {
    return html`<p class="blank" data-testid="no-samples">${t('plot.empty', { span: formatSpan(refreshSeconds.value) })}</p>`
  }
  const changes = answer.changes.map((change) => ({ at: change.at, text: tuningText(change) }))
  const rangeSeconds = answer.hours * 3600
  return html`<div class="plots" data-testid="plots" data-hours=${answer.hours}>
    ${specs.map((spec) => html`<${Plot} key=${spec.testid} ...${spec} changes=${changes} rangeSeconds=${rangeSeconds} />`)}
  </div>`
}

/** The properties of every plot that follow from the samples. */
function specsOf({ samples, extraMetrics }) {
  const moments = samples.map(({ at }) => at)
  const specs = [
    ...devicesIn(samples).map((device) => memorySpec(samples, device)),
    queueSpec(samples),
    throughputSpec(samples),
    waitSpec(samples),
    speedSpec(samples),
    ...extraMetrics.map((metric) => extraSpec(samples, metric)),
  ]
  return specs.map((spec) => ({ ...spec, moments }))
}

function memorySpec(samples, device) {
  const { bands, total, measured } = memoryBands(samples, device)
  const tops = stacked(bands.map(({ bytes }) => bytes))
  const curves = bands.map((band, index) => ({
    key: band.model ?? band.kind,
    label: band.model ?? t(`plot.${band.kind}`),
    colour: bandColour(band),
    values: band.bytes,
    drawnValues: tops[index],
    kind: 'band',
    isOver: index > 0,
  }))
  curves.push(
    { key: 'measured', label: t('plot.measured'), colour: colour('--ink'), values: measured, kind: 'line', dash: DASH },
    { key: 'total', label: t('plot.total'), colour: colour('--ink-2'), values: total, kind: 'line' },
  )
  return {
    title: t('plot.memory', { device }),
    testid: `plot-memory-${device}`,
    curves,
    format: formatBytes,
    height: 200,
  }
}

function queueSpec(samples) {
  const curves = queueCurves(samples).map(({ key, values }) => ({
    key,
    label: t(`plot.${key}`),
    colour: colour(QUEUE_COLOURS[key]),
    values,
    kind: key === 'retrying' ? 'line' : 'area',
  }))
  return { title: t('plot.queue'), testid: 'plot-queue', curves, format: formatRounded, steps: COUNT_STEPS }
}

function throughputSpec(samples) {
  const curve = {
    ...throughputCurve(samples),
    label: t('plot.throughput_label'),
    colour: colour('--plot-throughput'),
    kind: 'area',
  }
  return { title: t('plot.throughput'), testid: 'plot-throughput', curves: [curve], format: formatTimes }
}

function waitSpec(samples) {
  const curves = waitCurves(samples).map(({ key, values }) => {
    const isMean = key === 'mean'
    return {
      key,
      label: t(`plot.${key}`),
      colour: colour('--plot-wait', isMean ? 1 : 0.75),
      values,
      kind: isMean ? 'area' : 'line',
      dash: isMean ? undefined : DASH,
    }
  })
  return { title: t('plot.waits'), testid: 'plot-waits', curves, format: formatWait, steps: SPAN_STEPS }
}

/** One line per model; with several devices also one per device, dashed for all but the first. */
function speedSpec(samples) {
  const speeds = speedCurves(samples)
  const devices = [...new Set(speeds.map(({ device }) => device))]
  const curves = speeds.map(({ key, model, device, values }) => ({
    key,
    label: devices.length > 1 ? `${model} · ${device}` : model,
    colour: modelColour(model),
    values,
    kind: 'line',
    dash: devices.indexOf(device) > 0 ? DASH : undefined,
  }))
  return { title: t('plot.speeds'), testid: 'plot-speeds', curves, format: formatTimes }
}

/** metric: {name, title, unit} as another package wrote them. */
function extraSpec(samples, { name, title, unit }) {
  const curve = { ...extraCurve(samples, name), label: title, colour: colour('--plot-throughput'), kind: 'line' }
  const format = (value) => [formatRounded(value), unit].filter(Boolean).join(' ')
  return { title, testid: `plot-extra-${name}`, curves: [curve], format }
}
