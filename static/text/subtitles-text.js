/** How subtitles are cut, in a few words. options: as openai-whisper names them, those without effect left empty. */
import { joined, t } from './i18n.js'

const LIMITS = ['max_line_width', 'max_line_count', 'max_words_per_line']

export function subtitlesText(options) {
  const limits = LIMITS.map((name) => options[name] && t(`subtitles.${name}_is`, { count: options[name] }))
  const marks = options.highlight_words && t('subtitles.highlight_words_is')
  return joined([...limits, marks], 'punctuation.comma') || t('subtitles.uncut')
}
