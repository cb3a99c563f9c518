/**
 * The waveform of a recording. The browser decodes a whole file into memory, so only small files get one, and only their
 * peaks are kept; larger ones have the plain slider.
 */
const MOST_BYTES = 50e6
const MOST_SECONDS = 30 * 60
const SAMPLE_RATE = 8000
const PEAKS = 1200

export const isDrawable = (task) => task.size_bytes < MOST_BYTES && (task.audio_seconds ?? Infinity) < MOST_SECONDS

/** PEAKS values from 0 to 1, or null when the browser cannot decode the file. signal: an AbortSignal. */
export async function fetchPeaks(url, signal) {
  try {
    const response = await fetch(url, { signal })
    if (!response.ok) return null
    const context = new OfflineAudioContext(1, SAMPLE_RATE, SAMPLE_RATE)
    return peaksOf(await context.decodeAudioData(await response.arrayBuffer()))
  } catch (error) {
    if (error.name === 'AbortError' || error.name === 'EncodingError' || error instanceof TypeError) return null
    throw error
  }
}

/** The loudest sample in each of `count` equal parts, scaled so that the loudest of all is 1. */
export function peaksOf(buffer, count = PEAKS) {
  const samples = buffer.getChannelData(0)
  const stride = Math.max(1, samples.length / count)
  const peaks = new Float32Array(Math.min(count, samples.length))
  for (let index = 0; index < peaks.length; index += 1) {
    const end = Math.min(samples.length, Math.floor((index + 1) * stride))
    for (let at = Math.floor(index * stride); at < end; at += 1)
      peaks[index] = Math.max(peaks[index], Math.abs(samples[at]))
  }
  const loudest = peaks.reduce((most, peak) => Math.max(most, peak), 0)
  return loudest ? peaks.map((peak) => peak / loudest) : peaks
}
