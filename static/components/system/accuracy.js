/** How accurate the forecasts are: when tasks end, how long a task waits at most, and how much memory it needs. */
import { html } from 'htm/preact'
import { system } from '../../state/store.js'
import { formatNumber, formatPercent, formatSpan } from '../../text/format.js'
import { t } from '../../text/i18n.js'

const COLUMNS = ['model', 'device', 'count', 'error', 'margin', 'source']

export function Accuracy() {
  const { forecasts, wait_bound: bound, memory_estimates: estimates } = system.value ?? {}
  return html`<section class="panel-card" aria-labelledby="accuracy-title" data-testid="accuracy">
    <h3 id="accuracy-title">${t('accuracy.title')}</h3>
    <p>${forecastText(forecasts)}</p>
    ${bound && html`<p data-testid="wait-bound">${boundText(bound)}</p>`}
    <h4 id="estimates-title">${t('accuracy.table')}</h4>
    <${Estimates} estimates=${estimates ?? []} />
  </section>`
}

function forecastText(forecasts) {
  if (!forecasts?.count) return t('accuracy.no_forecasts')
  const { count, within_interval: within, median_error_seconds: error } = forecasts
  return t('accuracy.forecasts', { count, within: formatPercent(within), span: formatSpan(error) })
}

const boundText = ({ patience_seconds: seconds }) =>
  seconds > 0 ? t('accuracy.bound', { span: formatSpan(seconds) }) : t('accuracy.no_bound')

function Estimates({ estimates }) {
  if (estimates.length === 0) return html`<p class="faint">${t('accuracy.none')}</p>`
  return html`<div class="table-box" tabindex="0" role="region" aria-labelledby="estimates-title">
    <table class="estimates" data-testid="estimates">
      <thead><tr>${COLUMNS.map((name) => html`<th scope="col" class=${`is-${name}`}>${t(`accuracy.${name}`)}</th>`)}</tr></thead>
      <tbody>${estimates.map((row) => html`<${Estimate} key=${`${row.device} ${row.model}`} row=${row} />`)}</tbody>
    </table>
  </div>`
}

function Estimate({ row }) {
  return html`<tr>
    <th scope="row">${row.model}</th>
    <td>${row.device}</td>
    <td class="is-count">${formatNumber(row.count)}</td>
    <td class="is-error">${percentOrDash(row.median_error)}</td>
    <td class="is-margin">${percentOrDash(row.margin)}</td>
    <td>${t(row.is_calibrated ? 'accuracy.measured' : 'accuracy.assumed')}</td>
  </tr>`
}

const percentOrDash = (share) => (share == null ? t('plot.unknown') : formatPercent(share, 1))
