/** Which formats a transcript can be had in, and how the person wants subtitles to be cut. */
import { computed, signal } from '@preact/signals'
import { preference } from '../util/preferences.js'

/** [kind, formats], in the order in which they are offered. */
export const FORMATS = [
  ['text', ['txt', 'paragraphs', 'md', 'docx']],
  ['subtitles', ['srt', 'vtt', 'ass', 'lrc']],
  ['data', ['json', 'tsv', 'whisperx']],
]
const SUBTITLES = new Map(FORMATS).get('subtitles')

/** Where the name of a format is not the ending of its files. */
const ENDINGS = { paragraphs: 'txt', whisperx: 'json' }
export const endingOf = (format) => ENDINGS[format] ?? format

/** The most that the server takes of each. */
export const LIMITS = { max_line_width: 1000, max_line_count: 100, max_words_per_line: 1000 }
export const UNCUT = { max_line_width: '', max_line_count: '', max_words_per_line: '', highlight_words: false }

const chosen = preference('subtitles', UNCUT)

/** The person's wishes, as openai-whisper names them; an empty one stands for no limit. */
export const subtitleOptions = computed(() => ({ ...UNCUT, ...chosen.value }))
export const chooseSubtitles = (options) => (chosen.value = options)

/** The wishes while they are being changed, which a video shows at once; null otherwise. */
const draft = signal(null)
export const shownOptions = computed(() => draft.value ?? subtitleOptions.value)
export const tryOut = (options) => (draft.value = options)

/** The wishes that have an effect beside the others. */
export function effective({ max_line_width, max_line_count, max_words_per_line, highlight_words }) {
  const lines = max_line_width ? max_line_count : ''
  return {
    max_line_width,
    max_line_count: lines,
    max_words_per_line: lines ? '' : max_words_per_line,
    highlight_words,
  }
}

/** Whether a text without word timestamps cannot be cut as the person wishes. */
export const needsWords = computed(() => {
  const { max_line_count, max_words_per_line, highlight_words } = effective(subtitleOptions.value)
  return Boolean(max_line_count || max_words_per_line || highlight_words)
})

/** What a request for this format says of it. hasWords: whether the text has word timestamps. */
export function cueFields(format, hasWords, wishes = subtitleOptions.value) {
  if (!SUBTITLES.includes(format)) return {}
  const options = effective(wishes)
  return hasWords ? options : { max_line_width: options.max_line_width }
}
