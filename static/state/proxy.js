/** What the proxy before the server, if there is one, does not pass on. */
import { signal } from '@preact/signals'

/** seen: the header Host that reached the server, which the server wrote into the page. location: the page's own. */
export function isHostKept(seen, { protocol, host }) {
  try {
    return !seen || new URL(`${protocol}//${seen}`).host === host
  } catch {
    return false
  }
}

const { host = '' } = globalThis.document?.getElementById('app')?.dataset ?? {}

/** Without the page's own host the server takes every upload, and the live feed, for another web site's. */
export const hasHost = isHostKept(host, globalThis.location ?? {})

/** Whether the live feed works, but not as a WebSocket. */
export const lacksWebSockets = signal(false)
