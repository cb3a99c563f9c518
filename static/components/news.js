/** Tells screen readers what is done, and the switch for the browser's notifications. */
import { html } from 'htm/preact'
import { announcement, canNotify, isNotifying, toggleNotifying } from '../state/news.js'
import { t } from '../text/i18n.js'
import { Icon } from './icons.js'

export const Announcements = () =>
  html`<p class="unseen" role="status" data-testid="announcement">${announcement.value}</p>`

export function NotifySwitch() {
  if (!canNotify) return null
  const label = t('news.notify')
  return html`<button type="button" class="round" aria-pressed=${isNotifying.value} aria-label=${label} title=${label}
    data-testid="notify" onClick=${toggleNotifying}><${Icon} name="bell" /></button>`
}
