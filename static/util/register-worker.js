/** The installed page's worker, which takes the files that other programs share with it (static/service-worker.js). */
export function registerServiceWorker() {
  // Only https and this machine have workers. The page needs none: without one it cannot be shared with, that is all.
  navigator.serviceWorker
    ?.register('static/service-worker.js', { scope: './', type: 'module' })
    .catch((error) => console.warn(error.message))
}
