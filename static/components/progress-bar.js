/** A bar with its percentage, and what else is said beside it. */
import { html } from 'htm/preact'
import { formatPercent } from '../text/format.js'

/** value: 0 to 1. label: what a screen reader calls it. */
export function ProgressBar({ value, label, testid, role, children }) {
  return html`<div class="bar-row" role=${role}>
    <progress value=${value} max="1" aria-label=${label} data-testid=${testid}></progress>
    <span class="figures">${formatPercent(value)}</span>
    ${children}
  </div>`
}
