// Runs before the first paint, so that a dark page never flashes white. The same choice as preferences.js makes.
;(() => {
  let choice = 'auto'
  try {
    choice = JSON.parse(localStorage.getItem('whisper.theme')) || 'auto'
  } catch {
    // Nothing is kept: follow the system.
  }
  const isDark = choice === 'dark' || (choice === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.dataset.theme = isDark ? 'dark' : 'light'
})()
