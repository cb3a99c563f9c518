/** The texts of the page in the chosen language. What another language than Chinese lacks is English. */
import { effect, signal } from '@preact/signals'
import en from './en.js'
import { formatNumber } from './format.js'
import { direction, language, locale } from './language.js'
import zh from './zh.js'

const dictionaries = signal({ en, zh })

/** Fetches the texts of a language that is a file of its own. Without them the page is in English. */
export async function loadTexts(code = language.peek()) {
  if (code in dictionaries.peek()) return
  try {
    const answer = await fetch(`static/text/${code}.json`)
    if (answer.ok) addTexts(code, await answer.json())
  } catch {
    // No connection, or a damaged file.
  }
}

export const addTexts = (code, texts) => (dictionaries.value = { ...dictionaries.peek(), [code]: texts })

/** Undefined for an unknown key. In Chinese nothing is missing; see tests/page/text.test.mjs. */
const entryOf = (key) => dictionaries.value[language.value]?.[key] ?? en[key]

/**
 * The text for `key`, with {names} filled in from `values`. A text that depends on a number is {one, other}, chosen by
 * `values.count`. Returns undefined for an unknown key, so that callers can fall back on the server's own text.
 */
export function lookUp(key, values = {}) {
  const entry = entryOf(key)
  if (entry === undefined) return undefined
  const text = typeof entry === 'string' ? entry : (entry[pluralOf(values.count)] ?? entry.other)
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? display(values[name]) : whole))
}

export const t = (key, values) => lookUp(key, values) ?? key

function pluralOf(count) {
  return new Intl.PluralRules(locale.value).select(Number(count) || 0)
}

function display(value) {
  return typeof value === 'number' ? formatNumber(value) : String(value ?? '')
}

/** The parts that are there, one after the other. separator: a key. */
export const joined = (parts, separator) => parts.filter(Boolean).join(t(separator))

/** Sentences one after the other; Chinese has no space between them. */
export const sentences = (...parts) => joined(parts, 'punctuation.space')

/** "Started on cpu: it was next", or the sentence alone where there is no reason. */
export const withReason = (sentence, reason) => (reason ? sentence + t('punctuation.colon') + reason : sentence)

/** Keeps the document's language up to date, and what is needed of its texts. */
export function followLanguage(root = document.documentElement) {
  effect(() => {
    root.lang = locale.value
    root.dir = direction.value
    loadTexts(language.value)
  })
}
