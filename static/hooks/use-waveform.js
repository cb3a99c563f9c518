/** The waveform of a recording, which the server makes. */
import { useEffect, useState } from 'preact/hooks'
import { fetchWaveform } from '../api.js'

const FIRST_RETRY_MS = 500
const MOST_TRIES = 20

/** {peaks, secondsPerPeak} with peaks from 0 to 1, or null until it is there and where there is none. */
export function useWaveform(id, isWanted) {
  const [waveform, setWaveform] = useState(null)
  useEffect(() => {
    setWaveform(null)
    if (!isWanted) return undefined
    const stop = new AbortController()
    load(id, stop.signal).then((found) => !stop.signal.aborted && setWaveform(found))
    return () => stop.abort()
  }, [id, isWanted])
  return waveform
}

/** A recording from before there were waveforms has to be read first. */
async function load(id, signal) {
  for (let attempt = 0; attempt < MOST_TRIES && !signal.aborted; attempt += 1) {
    try {
      return await fetchWaveform(id)
    } catch (error) {
      if (error.name !== 'ApiError') throw error
      if (error.code !== 'waveform_not_ready') return null
    }
    await new Promise((resolve) => setTimeout(resolve, FIRST_RETRY_MS * (attempt + 1)))
  }
  return null
}
