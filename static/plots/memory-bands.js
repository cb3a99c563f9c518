/** How a device's memory is used, as bands stacked on each other. */
import { column } from './stacking.js'

/** The names of all devices in the samples, sorted. */
export const devicesIn = (samples) =>
  [...new Set(samples.flatMap((sample) => Object.keys(sample.devices ?? {})))].sort()

/**
 * Returns {bands, total, measured}. bands: [{kind, model?, bytes}] from the bottom: 'others' (other programs), a 'model'
 * each, 'tasks' (reserved for tasks and the worker process), 'beyond' (used in excess of all reservations). A band that
 * is always empty is left out. bytes, total and measured are columns with one value per sample.
 */
export function memoryBands(samples, device) {
  const read = (figure) => column(samples, (sample) => (sample.devices[device] ? figure(sample.devices[device]) : null))
  const models = [...new Set(samples.flatMap((sample) => Object.keys(sample.devices?.[device]?.models ?? {})))].sort()
  const bands = [
    { kind: 'others', bytes: read((memory) => memory.others ?? 0) },
    ...models.map((model) => ({ kind: 'model', model, bytes: read((memory) => memory.models[model] ?? 0) })),
    { kind: 'tasks', bytes: read((memory) => Math.max(0, memory.reserved - modelBytes(memory))) },
    { kind: 'beyond', bytes: read((memory) => Math.max(0, memory.used - memory.reserved)) },
  ]
  return {
    bands: bands.filter(({ kind, bytes }) => kind === 'tasks' || bytes.some((value) => value > 0)),
    total: read((memory) => memory.total),
    measured: read((memory) => memory.used + (memory.others ?? 0)),
  }
}

const modelBytes = ({ models }) => Object.values(models).reduce((sum, bytes) => sum + bytes, 0)

/** The bands of a device of GET /api/system at this moment, empty ones left out: [{kind, model?, bytes}]. */
export function memoryNow({ others = 0, reserved = 0, used = 0, models = [] }) {
  const ofModels = models.map(({ name, reserved_bytes: bytes }) => ({ kind: 'model', model: name, bytes }))
  const promised = ofModels.reduce((sum, { bytes }) => sum + bytes, 0)
  const bands = [
    { kind: 'others', bytes: others },
    ...ofModels,
    { kind: 'tasks', bytes: Math.max(0, reserved - promised) },
    { kind: 'beyond', bytes: Math.max(0, used - reserved) },
  ]
  return bands.filter(({ bytes }) => bytes > 0)
}
