/** The status of a task or an upload as a coloured label. */
import { html } from 'htm/preact'
import { t } from '../text/i18n.js'

export function Chip({ status }) {
  return html`<span class="chip is-${status}" data-testid="status" data-status=${status}>
    <span class="dot"></span>${t(`status.${status}`)}
  </span>`
}
