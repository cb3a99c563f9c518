/**
 * Takes the files that other programs share with the installed page, and keeps them until the page sends them.
 * It answers nothing else: what the page is made of, the browser's own cache keeps.
 */
import { keepFile } from './util/kept-files.js'

const TARGET = new URL('share-target', self.registration.scope).href

self.addEventListener('install', () => self.skipWaiting())
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()))
self.addEventListener('fetch', (event) => {
  if (event.request.method === 'POST' && event.request.url === TARGET) event.respondWith(take(event.request))
})

async function take(request) {
  const form = await request.formData()
  for (const file of form.getAll('file')) {
    if (!(file instanceof File)) continue
    const { name, type } = file
    await keepFile({ id: crypto.randomUUID(), name, type, at: Date.now() }, file)
  }
  return Response.redirect('./', 303)
}
