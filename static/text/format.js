/** Numbers, sizes, lengths of time and dates, written the way readers of the page's language write them. */
import { locale } from './language.js'

export function formatNumber(value, digits = 0) {
  return new Intl.NumberFormat(locale.value, { maximumFractionDigits: digits }).format(value)
}

/** One digit after the point below ten, none above. */
export const formatRounded = (value) => formatNumber(value, value < 10 ? 1 : 0)

export const formatPercent = (share, digits = 0) =>
  new Intl.NumberFormat(locale.value, { style: 'percent', maximumFractionDigits: digits }).format(share)

/** A share with its sign: +9%. */
export function formatChange(share) {
  const options = { style: 'percent', maximumFractionDigits: 0, signDisplay: 'exceptZero' }
  return new Intl.NumberFormat(locale.value, options).format(share)
}

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

/** A length of time in the one unit that fits it: "3 min". */
export function formatSpan(seconds) {
  const { unit, length, format } = spanFormat(seconds)
  return format.format(Math.max(unit === 'second' ? 1 : 0, seconds / length))
}

/** A wait as it was measured: "27 ms" below a second, where `formatSpan`, which is for forecasts, says "1 sec". */
export function formatWait(seconds) {
  if (seconds >= 1) return formatSpan(seconds)
  const options = { style: 'unit', unit: 'millisecond', unitDisplay: 'short', maximumFractionDigits: 0 }
  return new Intl.NumberFormat(locale.value, options).format(seconds * 1000)
}

/** Two lengths in the unit of the longer one: "1–4 min". */
export function formatSpanRange(least, most) {
  const { length, format } = spanFormat(most)
  return format.formatRange(least / length, Math.max(least, most) / length)
}

function spanFormat(seconds) {
  const [unit, length] = seconds < 90 ? ['second', 1] : seconds < 5400 ? ['minute', 60] : ['hour', 3600]
  const maximumFractionDigits = unit === 'hour' ? 1 : 0
  const options = { style: 'unit', unit, unitDisplay: 'short', maximumFractionDigits }
  return { unit, length, format: new Intl.NumberFormat(locale.value, options) }
}

/** The time of day of a moment in milliseconds, with the date unless it is today. */
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

export const formatDay = (iso) => new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium' }).format(new Date(iso))

/** Chromium leaves these out of its names. */
const UNKNOWN_TO_BROWSERS = { 'zh-Hans': { ba: '巴什基尔语', bo: '藏语' } }
const MODERN_CODES = { jw: 'jv' } // Whisper has an outdated code for Javanese.

/** The name of a spoken language. `english` is the server's name for it, used for codes that the browser does not know. */
export function languageName(code, english) {
  try {
    const names = new Intl.DisplayNames([locale.value], { type: 'language', fallback: 'none' })
    const name = names.of(MODERN_CODES[code] ?? code)
    if (name) return name
  } catch {
    // Intl rejects the code as malformed.
  }
  const known = UNKNOWN_TO_BROWSERS[locale.value]?.[code]
  return known ?? (english ? english[0].toUpperCase() + english.slice(1) : code)
}
