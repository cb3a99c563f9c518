/** Shows the messages of toasts.js and has them read aloud. */
import { html } from 'htm/preact'
import { dismiss, hold, release, toasts } from '../state/toasts.js'
import { t } from '../text/i18n.js'
import { Icon } from './icons.js'

export function Toasts() {
  return html`<div class="toasts" role="region" aria-label=${t('toast.region')} aria-live="polite" data-testid="toasts">
    ${toasts.value.map((entry) => html`<${Toast} key=${entry.key} entry=${entry} />`)}
  </div>`
}

function Toast({ entry }) {
  const keep = () => hold(entry.key)
  const letGo = () => release(entry.key, entry.tone)
  return html`<div class="toast is-${entry.tone}" data-testid="toast" onPointerEnter=${keep} onPointerLeave=${letGo} onFocusIn=${keep} onFocusOut=${letGo}>
    <${Icon} name=${entry.tone === 'error' ? 'alert' : 'check'} />
    <p>${entry.title && html`<b dir="auto">${entry.title}</b>`}<span>${entry.text}</span></p>
    <button type="button" class="round" aria-label=${t('toast.close')} onClick=${() => dismiss(entry.key)}><${Icon} name="close" /></button>
  </div>`
}
