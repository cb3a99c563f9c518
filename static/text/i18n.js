/** Words of the page in the chosen language, and numbers, names and times the way its readers write them. */
import { computed, effect } from '@preact/signals'
import { view } from '../util/address.js'
import { preference } from '../util/preferences.js'
import en from './en.js'
import zh from './zh.js'

const DICTIONARIES = { en, zh }
const LOCALES = { en: 'en', zh: 'zh-Hans' }
export const LANGUAGE_TITLES = { en: 'English', zh: '中文' }

/** The first of the browser's languages that there is a dictionary for. */
export function firstLanguage(wanted = globalThis.navigator?.languages ?? []) {
  const codes = wanted.map((tag) => tag.toLowerCase().split('-')[0])
  return codes.find((code) => code in DICTIONARIES) ?? 'en'
}

export const language = preference('language', firstLanguage())
if (!(language.value in DICTIONARIES)) language.value = 'en'

export const locale = computed(() => LOCALES[language.value])

/** Keeps the document's language, and its title: the product's name, with the view's before it on any but the first. */
export function followLanguage(productName, root = document.documentElement) {
  effect(() => {
    root.lang = locale.value
    document.title = view.value === 'queue' ? productName : `${t(`views.${view.value}`)} · ${productName}`
  })
}

/**
 * The words for `key`, with {names} filled in. Words that depend on a number are {one, other} and follow `count`.
 * An unknown key gives undefined, so that callers can fall back on the server's words.
 */
export function lookUp(key, values = {}) {
  const entry = DICTIONARIES[language.value][key]
  if (entry === undefined) return undefined
  const text = typeof entry === 'string' ? entry : (entry[pluralOf(values.count)] ?? entry.other)
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(values[name]) : whole))
}

export const t = (key, values) => lookUp(key, values) ?? key

/** Codes whose English message says more than the code does: a name, a number, a place. */
const TELLING_CODES = new Set([
  'model_unavailable',
  'weights_damaged',
  'invalid_option',
  'bad_request',
  'conflict',
  'unknown_model',
])

/** What to say about an error {code, message}: in English the server's own words, else the translated code. */
export function errorText({ code, message }) {
  const ours = lookUp(`error.${code}`)
  const hasMessage = Boolean(message) && message !== code
  if (language.value === 'en' && hasMessage) return message
  if (ours && hasMessage && TELLING_CODES.has(code)) return `${ours} (${message})`
  return ours ?? (hasMessage ? message : t('error.unknown', { code }))
}

/** Why a task waits: {code, data} in the chosen language, else the server's sentence. */
export function waitReasonText(waiting, sentence) {
  if (!waiting?.code) return sentence ?? ''
  const values = figures(waiting.data)
  values.count ??= values.seconds
  const words = lookUp(`waiting.${waiting.code}`, values)
  if (words === undefined) return sentence ?? ''
  return values.message ? `${words} ${values.message}` : words
}

/** The figures of a sentence as they are read; the server names them by their unit. */
function figures(data) {
  return Object.fromEntries(Object.entries(data ?? {}).map(([name, value]) => [name, figure(name, value)]))
}

function figure(name, value) {
  if (name.endsWith('_bytes')) return formatBytes(value)
  return ['fraction', 'occupancy'].includes(name) ? formatPercent(value) : value
}

/** What only a person can change: {code, text, data} in the chosen language, in English the server's own sentence. */
export const adviceText = ({ code, text, data }) => lookUp(`advice.${code}`, figures(data)) ?? text

function pluralOf(count) {
  return new Intl.PluralRules(locale.value).select(Number(count) || 0)
}

function shown(value) {
  return typeof value === 'number' ? formatNumber(value) : String(value ?? '')
}

export function formatNumber(value, digits = 0) {
  return new Intl.NumberFormat(locale.value, { maximumFractionDigits: digits }).format(value)
}

export const formatPercent = (share, digits = 0) =>
  new Intl.NumberFormat(locale.value, { style: 'percent', maximumFractionDigits: digits }).format(share)

/** A share with its sign: +9%. */
export const formatChange = (share) =>
  new Intl.NumberFormat(locale.value, { style: 'percent', maximumFractionDigits: 0, signDisplay: 'exceptZero' }).format(
    share,
  )

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte']

/** Bytes in powers of ten, as disks and downloads count them. */
export function formatBytes(bytes) {
  if (bytes === null || bytes === undefined) return '–'
  const power = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)))
  const value = bytes / 1000 ** power
  return new Intl.NumberFormat(locale.value, {
    style: 'unit',
    unit: UNITS[power],
    unitDisplay: power ? 'short' : 'long',
    maximumFractionDigits: value < 10 && power > 1 ? 1 : 0,
  }).format(value)
}

/** 65 -> 1:05, 3723 -> 1:02:03. */
export function formatClock(seconds) {
  const whole = Math.max(0, Math.floor(seconds ?? 0))
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const tail = `${String(rest).padStart(2, '0')}`
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${tail}` : `${minutes}:${tail}`
}

/** A length for people: the one unit that matters, "about 3 min". */
export function formatSpan(seconds) {
  const { unit, length, format } = spanFormat(seconds)
  return format.format(Math.max(unit === 'second' ? 1 : 0, seconds / length))
}

/** Two lengths in the unit of the longer one: "1–4 min". */
export function formatSpanRange(least, most) {
  const { length, format } = spanFormat(most)
  return format.formatRange(least / length, Math.max(least, most) / length)
}

function spanFormat(seconds) {
  const [unit, length] = seconds < 90 ? ['second', 1] : seconds < 5400 ? ['minute', 60] : ['hour', 3600]
  const format = new Intl.NumberFormat(locale.value, {
    style: 'unit',
    unit,
    unitDisplay: 'short',
    maximumFractionDigits: unit === 'hour' ? 1 : 0,
  })
  return { unit, length, format }
}

const STEPS = [
  [60, 'second', 1],
  [3600, 'minute', 60],
  [86400, 'hour', 3600],
  [604800, 'day', 86400],
]

/** "5 minutes ago", and a date for what is older than a week. */
export function formatAgo(iso, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000)
  if (Number.isNaN(seconds)) return ''
  if (seconds < 45) return t('time.just_now')
  const step = STEPS.find(([limit]) => seconds < limit)
  if (!step) return new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium' }).format(new Date(iso))
  return new Intl.RelativeTimeFormat(locale.value, { numeric: 'auto' }).format(-Math.round(seconds / step[2]), step[1])
}

/** The time of day of a moment in milliseconds, with the date when it is not today's. */
export function formatTime(milliseconds, { now = Date.now(), hasTime = true, hasSeconds = true } = {}) {
  const moment = new Date(milliseconds)
  const time = hasTime
    ? { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...(hasSeconds && { second: '2-digit' }) }
    : {}
  const date = moment.toDateString() === new Date(now).toDateString() ? {} : { month: 'short', day: 'numeric' }
  return new Intl.DateTimeFormat(locale.value, { ...date, ...time }).format(moment)
}

export const formatMoment = (iso) =>
  new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(iso))

const OTHER_CODES = { jw: 'jv' } // Whisper's code for Javanese is the old one

/** A spoken language's name; `english` is what the server calls it, for codes that the browser does not know. */
export function languageName(code, english) {
  try {
    const name = new Intl.DisplayNames([locale.value], { type: 'language', fallback: 'none' }).of(
      OTHER_CODES[code] ?? code,
    )
    if (name) return name
  } catch {
    // Not a code that Intl takes.
  }
  return english ? english[0].toUpperCase() + english.slice(1) : code
}
