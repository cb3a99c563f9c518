/** The language of the page: English, Chinese, or one of the others that the server has a file of. */
import { computed } from '@preact/signals'
import { preference } from '../util/preferences.js'

const BUILT_IN = {
  en: { name: 'English', short: 'EN', locale: 'en', direction: 'ltr' },
  zh: { name: '中文', short: '中文', locale: 'zh-Hans', direction: 'ltr' },
}

/** code -> {name, short, locale, direction}, as the server wrote them into the page. */
export const LANGUAGES = readKnown(globalThis.document?.querySelector('script[data-languages]'))

function readKnown(script) {
  return script ? JSON.parse(script.dataset.languages) : BUILT_IN
}

/** The first of the browser's languages that the page is translated into, else English. */
export function firstLanguage(preferred = globalThis.navigator?.languages ?? []) {
  const codes = preferred.map((tag) => tag.toLowerCase().split('-')[0])
  return codes.find((code) => Object.hasOwn(LANGUAGES, code)) ?? 'en'
}

export const language = preference('language', firstLanguage())
if (!Object.hasOwn(LANGUAGES, language.value)) language.value = 'en'

const chosen = computed(() => LANGUAGES[language.value])

/** What Intl calls the language. */
export const locale = computed(() => chosen.value.locale)
export const direction = computed(() => chosen.value.direction)

export const isEnglish = () => language.value === 'en'
