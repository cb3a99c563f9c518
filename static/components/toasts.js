/** Shows the short messages of the page and has screen readers read them aloud. */
import { html } from 'htm/preact'
import { dismiss, hold, release, toasts } from '../state/toasts.js'
import { t } from '../text/i18n.js'
import { IconButton } from './icon-button.js'
import { Icon } from './icons.js'

export function Toasts() {
  return html`<div class="toasts" role="region" aria-label=${t('toast.region')} aria-live="polite" data-testid="toasts">
    ${toasts.value.map((entry) => html`<${Toast} key=${entry.key} entry=${entry} />`)}
  </div>`
}

function Toast({ entry: { key, tone, title, text } }) {
  const onRest = () => hold(key)
  const onLeave = () => release(key, tone)
  return html`<div class="toast is-${tone}" data-testid="toast"
    onPointerEnter=${onRest} onPointerLeave=${onLeave} onFocusIn=${onRest} onFocusOut=${onLeave}>
    <${Icon} name=${tone === 'error' ? 'alert' : 'check'} />
    <p>${title && html`<b dir="auto">${title}</b>`}<span>${text}</span></p>
    <${IconButton} icon="close" label=${t('toast.close')} onClick=${() => dismiss(key)} />
  </div>`
}
