/** The curves of all plots but memory: [{key, values}]. */
import { column } from './stacking.js'

export const queueCurves = (samples) =>
  ['running', 'waiting', 'retrying'].map((key) => ({ key, values: column(samples, (sample) => sample[key]) }))

export const throughputCurve = (samples) => ({
  key: 'throughput',
  values: column(samples, (sample) => sample.throughput),
})

/** Null for samples in which no task started. */
export const waitCurves = (samples) =>
  ['p95', 'mean'].map((key) => ({ key, values: column(samples, (sample) => sample[`${key}_wait_seconds`] ?? null) }))

/** Of a metric that another package brought: null for samples without it. */
export const extraCurve = (samples, name) => ({
  key: name,
  values: column(samples, (sample) => sample.extra?.[name] ?? null),
})

/** One curve per model and device: [{key, model, device, values}]. Null for samples in which the model was idle. */
export function speedCurves(samples) {
  const pairs = new Map()
  for (const { speeds = {} } of samples) {
    for (const [device, models] of Object.entries(speeds)) {
      for (const model of Object.keys(models)) pairs.set(`${model} ${device}`, { model, device })
    }
  }
  const known = [...pairs.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
  return known.map(([key, { model, device }]) => ({
    key,
    model,
    device,
    values: column(samples, (sample) => sample.speeds?.[device]?.[model] ?? null),
  }))
}
