/** What a model of GET /api/models is like, in words. */
import { formatPercent, formatRounded } from './format.js'
import { t } from './i18n.js'

/** fetchedShare: of a download that is under way, 0 to 1; null when there is none. */
export function availabilityText({ is_available: isAvailable }, fetchedShare) {
  if (fetchedShare !== null) return t('model.fetching', { percent: formatPercent(fetchedShare) })
  return isAvailable ? t('model.here') : t('model.not_here')
}

/** As measured on this server; null before it was. */
export const speedText = ({ speed }) => (speed == null ? null : t('model.speed', { speed: formatRounded(speed) }))

/** As published; null where it was not measured. */
export const errorRateText = ({ word_error_rate: rate }) =>
  rate == null ? null : t('model.error_rate', { percent: formatPercent(rate, 1) })
