/** A sound track of a file in one line. */
import { languageName } from './format.js'
import { t } from './i18n.js'

/** "Sound track 2 · German · Commentary · 6 channels · default" */
export function trackText({ index, language, title, channels, default: isDefault }) {
  const parts = [
    t('track.number', { index }),
    language && languageName(language),
    title,
    channels && t('track.channels', { count: channels }),
    isDefault && t('track.default'),
  ]
  return parts.filter(Boolean).join(' · ')
}
