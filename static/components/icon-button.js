/** A round button that shows only an icon. */
import { html } from 'htm/preact'
import { Icon } from './icons.js'

/** label: what a screen reader says. title: what the pointer shows, the label unless it is given. */
export function IconButton({ icon, label, title = label, isDisabled = false, testid, onClick }) {
  return html`<button type="button" class="round" aria-label=${label} title=${title} data-testid=${testid} disabled=${isDisabled}
    onClick=${onClick}>
    <${Icon} name=${icon} />
  </button>`
}
