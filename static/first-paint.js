// Sets the theme before the first paint, so that a dark page does not flash white. preferences.js decides the same way.
;(() => {
  let choice = 'auto'
  try {
    choice = JSON.parse(localStorage.getItem('whisper.theme')) || 'auto'
  } catch {
    // Nothing was kept, or it cannot be read: follow the system.
  }
  const isDark = choice === 'dark' || (choice === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.dataset.theme = isDark ? 'dark' : 'light'
})()
