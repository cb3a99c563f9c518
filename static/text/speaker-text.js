/** What the people are called who speak in a recording. */
import { t } from './i18n.js'

/** speakers: id -> name or null. Undefined where nobody knows who speaks. */
export function speakerName(speaker, speakers) {
  if (!speaker) return undefined
  return speakers[speaker] ?? t('speaker.number', { number: speaker.slice(1) })
}
