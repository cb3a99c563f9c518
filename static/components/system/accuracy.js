/** How far what was foretold can be relied on: ends of tasks, the longest wait, and memory. */
import { html } from 'htm/preact'
import { system } from '../../state/store.js'
import { formatNumber, formatPercent, formatSpan, t } from '../../text/i18n.js'

export function Accuracy() {
  const { forecasts, wait_bound: bound, memory_estimates: estimates } = system.value ?? {}
  return html`<section class="panel-card" aria-labelledby="accuracy-title" data-testid="accuracy">
    <h3 id="accuracy-title">${t('accuracy.title')}</h3>
    <p>${forecastText(forecasts)}</p>
    ${bound && html`<p data-testid="wait-bound">${bound.patience_seconds > 0 ? t('accuracy.bound', { span: formatSpan(bound.patience_seconds) }) : t('accuracy.no_bound')}</p>`}
    <h4 id="estimates-title">${t('accuracy.table')}</h4>
    <${Estimates} estimates=${estimates ?? []} />
  </section>`
}

function forecastText(forecasts) {
  if (!forecasts?.count) return t('accuracy.no_forecasts')
  const { count, within_interval: within, median_error_seconds: error } = forecasts
  return t('accuracy.forecasts', { count, within: formatPercent(within), span: formatSpan(error) })
}

function Estimates({ estimates }) {
  if (estimates.length === 0) return html`<p class="faint">${t('accuracy.none')}</p>`
  return html`<div class="table-box" tabindex="0" role="region" aria-labelledby="estimates-title"><table class="estimates" data-testid="estimates">
    <thead><tr>${['model', 'device', 'count', 'error', 'margin', 'source'].map((name) => html`<th scope="col" class=${`is-${name}`}>${t(`accuracy.${name}`)}</th>`)}</tr></thead>
    <tbody>${estimates.map(
      (row) => html`<tr key=${`${row.device} ${row.model}`}>
      <th scope="row">${row.model}</th><td>${row.device}</td><td class="is-count">${formatNumber(row.count)}</td>
      <td class="is-error">${share(row.median_error)}</td><td class="is-margin">${share(row.margin)}</td>
      <td>${t(row.is_calibrated ? 'accuracy.measured' : 'accuracy.assumed')}</td>
    </tr>`,
    )}</tbody>
  </table></div>`
}

const share = (value) => (value == null ? t('plot.unknown') : formatPercent(value, 1))
