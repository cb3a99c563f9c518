/** Below the list: how much of the disk recordings and texts take, and how long they are kept. */
import { html } from 'htm/preact'
import { usePolling } from '../hooks/use-polling.js'
import { readStorage, storage } from '../state/storage.js'
import { system } from '../state/store.js'
import { formatBytes } from '../text/format.js'
import { t } from '../text/i18n.js'
import { retentionText } from '../text/retention-text.js'
import { eachHalfMinute } from '../util/ticker.js'

const EVERY_S = 60
/** Who uses less than these is not worth a line. */
const MOST_OWNERS = 10

export function Keeping() {
  usePolling(readStorage, EVERY_S)
  const kept = retentionText(system.value?.retention, eachHalfMinute.value)
  if (storage.value === null && !kept) return null
  return html`<aside class="keeping" aria-label=${t('storage.title')}>
    ${storage.value && html`<${Used} used=${storage.value} />`}
    ${kept && html`<p data-testid="retention">${kept}</p>`}
  </aside>`
}

function Used({ used }) {
  const { media_bytes: media, texts_bytes: texts, free_bytes: free, owners = [] } = used
  const sizes = { media: formatBytes(media), texts: formatBytes(texts), free: formatBytes(free) }
  return html`<p data-testid="storage">${t('storage.used', sizes)}</p>
    ${owners.length > 1 && html`<${Owners} owners=${owners} />`}`
}

function Owners({ owners }) {
  return html`<details data-testid="storage-owners">
    <summary>${t('storage.owners')}</summary>
    <ul>${owners
      .slice(0, MOST_OWNERS)
      .map(
        ({ owner, tasks, media_bytes: media, texts_bytes: texts, samples_bytes: samples }) =>
          html`<li key=${owner}><b dir="auto">${owner || t('storage.nobody')}</b> ${t('storage.of_owner', { count: tasks, size: formatBytes(media + texts + samples) })}</li>`,
      )}</ul>
  </details>`
}
