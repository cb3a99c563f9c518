/** The language of the page: English or Chinese. */
import { computed } from '@preact/signals'
import { preference } from '../util/preferences.js'

const LOCALES = { en: 'en', zh: 'zh-Hans' }
export const LANGUAGE_TITLES = { en: 'English', zh: '中文' }

/** The first of the browser's languages that the page is translated into, else English. */
export function firstLanguage(preferred = globalThis.navigator?.languages ?? []) {
  const codes = preferred.map((tag) => tag.toLowerCase().split('-')[0])
  return codes.find((code) => code in LOCALES) ?? 'en'
}

export const language = preference('language', firstLanguage())
if (!(language.value in LOCALES)) language.value = 'en'

/** What Intl calls the language. */
export const locale = computed(() => LOCALES[language.value])

export const isEnglish = () => language.value === 'en'
