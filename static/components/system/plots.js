/** The plots of the System view, all over the same time. */
import { html } from 'htm/preact'
import { useMemo } from 'preact/hooks'
import { bandColour, modelColour } from '../../plots/colours.js'
import { queueCurves, speedCurves, throughputCurve, waitCurves } from '../../plots/curves.js'
import { devicesIn, memoryBands } from '../../plots/memory-bands.js'
import { COUNT_STEPS, SPAN_STEPS } from '../../plots/plot-options.js'
import { stacked } from '../../plots/stacking.js'
import { history, refreshSeconds } from '../../state/history.js'
import { formatBytes, formatNumber, formatSpan, language, t } from '../../text/i18n.js'
import { tuningText } from '../../text/tuning-text.js'
import { Plot } from './plot.js'

const colour = (token, alpha = 1) => ({ token, alpha })
const DASH = [6, 4]
const inTasks = (value) => formatNumber(value, value < 10 ? 1 : 0)
const inTimes = (value) => t('plot.times', { speed: formatNumber(value, value < 10 ? 1 : 0) })

export function Plots() {
  const read = history.value
  const words = language.value
  // Sorted into columns once per answer, not at every movement of the pointer.
  const specs = useMemo(() => (read ? specsOf(read.samples) : []), [read, words])
  if (read === null) return html`<p class="blank" aria-busy="true">${t('plot.loading')}</p>`
  const changes = read.changes.map((change) => ({ at: change.at, text: tuningText(change) }))
  if (read.samples.length === 0) {
    return html`<p class="blank" data-testid="no-samples">${t('plot.empty', { span: formatSpan(refreshSeconds.value) })}</p>`
  }
  const moments = specs.moments
  return html`<div class="plots" data-testid="plots" data-hours=${read.hours}>
    ${specs.map((spec) => html`<${Plot} key=${spec.testid} ...${spec} moments=${moments} changes=${changes} rangeSeconds=${read.hours * 3600} />`)}
  </div>`
}

function specsOf(samples) {
  const specs = [
    ...devicesIn(samples).map((device) => memorySpec(samples, device)),
    queueSpec(samples),
    throughputSpec(samples),
    waitSpec(samples),
    speedSpec(samples),
  ]
  specs.moments = samples.map(({ at }) => at)
  return specs
}

function memorySpec(samples, device) {
  const { bands, total, measured } = memoryBands(samples, device)
  const heights = stacked(bands.map(({ bytes }) => bytes))
  const curves = bands.map((band, index) => ({
    key: band.model ?? band.kind,
    label: band.model ?? t(`plot.${band.kind}`),
    colour: bandColour(band),
    values: band.bytes,
    drawnValues: heights[index],
    kind: 'band',
    isOver: index > 0,
  }))
  curves.push({
    key: 'measured',
    label: t('plot.measured'),
    colour: colour('--ink'),
    values: measured,
    kind: 'line',
    dash: DASH,
  })
  curves.push({ key: 'total', label: t('plot.total'), colour: colour('--ink-2'), values: total, kind: 'line' })
  return {
    title: t('plot.memory', { device }),
    testid: `plot-memory-${device}`,
    curves,
    format: formatBytes,
    height: 200,
  }
}

const QUEUE_COLOURS = { running: '--plot-running', waiting: '--plot-waiting', retrying: '--plot-retrying' }

function queueSpec(samples) {
  const curves = queueCurves(samples).map(({ key, values }) => ({
    key,
    label: t(`plot.${key}`),
    colour: colour(QUEUE_COLOURS[key]),
    values,
    kind: key === 'retrying' ? 'line' : 'area',
  }))
  return { title: t('plot.queue'), testid: 'plot-queue', curves, format: inTasks, steps: COUNT_STEPS }
}

function throughputSpec(samples) {
  const curve = {
    ...throughputCurve(samples),
    label: t('plot.throughput_label'),
    colour: colour('--plot-throughput'),
    kind: 'area',
  }
  return { title: t('plot.throughput'), testid: 'plot-throughput', curves: [curve], format: inTimes }
}

function waitSpec(samples) {
  const curves = waitCurves(samples).map(({ key, values }) => ({
    key,
    label: t(`plot.${key}`),
    colour: colour('--plot-wait', key === 'mean' ? 1 : 0.75),
    values,
    kind: key === 'mean' ? 'area' : 'line',
    dash: key === 'mean' ? undefined : DASH,
  }))
  return { title: t('plot.waits'), testid: 'plot-waits', curves, format: formatSpan, steps: SPAN_STEPS }
}

function speedSpec(samples) {
  const found = speedCurves(samples)
  const devices = [...new Set(found.map(({ device }) => device))]
  const curves = found.map(({ key, model, device, values }) => ({
    key,
    label: devices.length > 1 ? `${model} · ${device}` : model,
    colour: modelColour(model),
    values,
    kind: 'line',
    dash: devices.indexOf(device) > 0 ? DASH : undefined,
  }))
  return { title: t('plot.speeds'), testid: 'plot-speeds', curves, format: inTimes }
}
