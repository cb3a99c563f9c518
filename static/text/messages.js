/**
 * What the server says about errors, waiting tasks and its own settings, in the chosen language.
 *
 * Every such message comes as a code with figures, and as an English sentence. A code that the page does not know is
 * shown as that sentence.
 */
import { detailText } from './detail-text.js'
import { formatBytes, formatPercent } from './format.js'
import { lookUp, sentences, t } from './i18n.js'
import { isEnglish, locale } from './language.js'

/** Codes whose English message holds a detail that the translation lacks: a name, a number, a place. */
const CODES_WITH_DETAIL = new Set([
  'model_unavailable',
  'weights_damaged',
  'model_unusable',
  'speakers_unknown',
  'invalid_option',
  'bad_request',
  'conflict',
  'unknown_model',
  'no_such_track',
  'link_refused',
])

/** An error {code, message}: the server's message in English, else the translation of its code. */
export function errorText({ code, message }) {
  const translation = lookUp(`error.${code}`)
  const hasMessage = Boolean(message) && message !== code
  if (isEnglish() && hasMessage) return message
  const detail = code === 'invalid_option' && hasMessage && detailText(message)
  if (detail) return detail
  if (translation && hasMessage && CODES_WITH_DETAIL.has(code)) return `${translation} (${message})`
  return translation ?? (hasMessage ? message : t('error.unknown', { code }))
}

/** Why a task waits: `waiting` is {code, data} or null, `sentence` the server's own text. */
export function waitReasonText(waiting, sentence) {
  if (!waiting?.code) return sentence ?? ''
  const values = formatted(waiting.data)
  values.count ??= values.seconds
  const text = lookUp(`waiting.${waiting.code}`, values)
  if (text === undefined) return sentence ?? ''
  return sentences(text, values.message)
}

/** A piece of advice {code, text, data}; the dictionaries translate it, and in English it is the server's sentence. */
export const adviceText = ({ code, text, data }) => lookUp(`advice.${code}`, formatted(data)) ?? text

/** The figures of a message, each formatted by the unit in its name. */
function formatted(data) {
  return Object.fromEntries(Object.entries(data ?? {}).map(([name, value]) => [name, formattedValue(name, value)]))
}

function formattedValue(name, value) {
  if (name.endsWith('_bytes')) return formatBytes(value)
  return ['fraction', 'occupancy'].includes(name) ? formatPercent(value) : value
}

const AGES = [
  { below: 60, unit: 'second', length: 1 },
  { below: 3600, unit: 'minute', length: 60 },
  { below: 86400, unit: 'hour', length: 3600 },
  { below: 604800, unit: 'day', length: 86400 },
]

/** "5 minutes ago", and the date of anything older than a week. */
export function formatAgo(iso, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000)
  if (Number.isNaN(seconds)) return ''
  if (seconds < 45) return t('time.just_now')
  const age = AGES.find(({ below }) => seconds < below)
  if (!age) return new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium' }).format(new Date(iso))
  const format = new Intl.RelativeTimeFormat(locale.value, { numeric: 'auto' })
  return format.format(-Math.round(seconds / age.length), age.unit)
}
