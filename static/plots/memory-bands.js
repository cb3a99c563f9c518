/** A device's memory over time, as bands that lie on top of each other. */
import { column } from './stacking.js'

/** The devices of all samples, by name. */
export const devicesIn = (samples) =>
  [...new Set(samples.flatMap((sample) => Object.keys(sample.devices ?? {})))].sort()

/**
 * Bands from the bottom: other programs, each model, what is promised to tasks, what is used beyond every promise.
 * Returns {bands: [{kind: 'others' | 'model' | 'tasks' | 'beyond', model?, bytes}], total, measured}, all columns of bytes.
 * A band that is empty all the time is left out.
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

/** The same bands at this moment, of an entry of GET /api/system's devices: [{kind, model?, bytes}]. */
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
