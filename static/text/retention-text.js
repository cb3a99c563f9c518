/** How long recordings and texts are kept, where the server removes old ones. */
import { formatDay } from './format.js'
import { sentences, t } from './i18n.js'

const SOON_MS = 7 * 86_400_000

/** {text, isSoon}: what will be removed of a task next, or has been; null where all is kept. now: milliseconds. */
export function removalOf({ media_removed_at: gone, media_expires_at: media, text_expires_at: text }, now) {
  const isWhole = Boolean(text) && (!media || text <= media)
  const at = isWhole ? text : media
  if (at) {
    const words = t(isWhole ? 'keep.text_until' : 'keep.media_until', { day: formatDay(at) })
    return { text: words, isSoon: Date.parse(at) - now < SOON_MS }
  }
  return gone ? { text: t('keep.media_gone'), isSoon: false } : null
}

/** What holds for all tasks: `retention` of GET /api/system. '' where all is kept. */
export function retentionText(retention, now) {
  if (!retention) return ''
  const { media_days: mediaDays, media_from: mediaFrom, text_days: textDays, text_from: textFrom } = retention
  return sentences(
    mediaDays && t('keep.media_days', { count: mediaDays }),
    mediaDays && announced(mediaFrom, now),
    textDays && t('keep.text_days', { count: textDays }),
    textDays && announced(textFrom, now),
  )
}

const announced = (from, now) => from && Date.parse(from) > now && t('keep.from', { day: formatDay(from) })
