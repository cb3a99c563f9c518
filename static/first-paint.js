// Sets theme and language before the first paint, so that a dark page does not flash white and the login page, which has no
// other script, speaks the person's language. preferences.js and language.js decide the same way.
;(() => {
  const kept = (name) => {
    try {
      return JSON.parse(localStorage.getItem(`whisper.${name}`))
    } catch {
      return null // Nothing can be kept, or it cannot be read.
    }
  }
  const theme = kept('theme') || 'auto'
  const isDark = theme === 'dark' || (theme === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches)
  const known = JSON.parse(document.currentScript.dataset.languages)
  const preferred = [kept('language'), ...navigator.languages.map((tag) => tag.toLowerCase().split('-')[0]), 'en']
  const { locale, direction } = known[preferred.find((code) => code !== null && Object.hasOwn(known, code))]
  const root = document.documentElement
  root.dataset.theme = isDark ? 'dark' : 'light'
  root.lang = locale
  root.dir = direction
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(`.own.own { display: none } .own.own[lang="${CSS.escape(locale)}"] { display: inline }`)
  document.adoptedStyleSheets = [sheet]
})()
