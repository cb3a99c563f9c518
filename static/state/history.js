/** The samples of the chosen time range. The System view reads them again and again while it is shown. */
import { computed, signal } from '@preact/signals'
import { fetchHistory } from '../api.js'
import { withGaps } from '../plots/stacking.js'
import { system } from './store.js'

/** Hours that can be chosen. */
export const RANGES = [0.25, 1, 6, 24, 168]
const SLOWEST_S = 60
const USUAL_INTERVAL_S = 30

export const hours = signal(1)

/** {samples, changes, extraMetrics, hours} of the latest answer, or null; withGaps has marked the pauses between samples. */
export const history = signal(null)
export const historyError = signal(null)

/** Seconds between two readings. A sample comes every interval, but in a plot of a week a single one does not show. */
export const refreshSeconds = computed(() => {
  const interval = system.value?.settings?.PERFORMANCE_MONITOR_INTERVAL ?? USUAL_INTERVAL_S
  return Math.max(interval, Math.min(SLOWEST_S, hours.value * 5))
})

let readings = 0

/** When calls overlap, only the newest has an effect. */
export async function readHistory() {
  const turn = ++readings
  const wanted = hours.peek()
  try {
    const { samples, changes, extra_metrics: extraMetrics = [] } = await fetchHistory(wanted)
    if (turn !== readings) return
    history.value = { samples: withGaps(samples), changes, extraMetrics, hours: wanted }
    historyError.value = null
  } catch (error) {
    if (error.name !== 'ApiError') throw error
    if (turn === readings) historyError.value = error
  }
}
