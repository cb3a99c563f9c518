/** Four figures that say how things stand. */
import { html } from 'htm/preact'
import { history } from '../../state/history.js'
import { counts, system } from '../../state/store.js'
import { formatNumber, formatPercent, formatSpan, t } from '../../text/i18n.js'

export function Figures() {
  const state = system.value
  if (state === null) return null
  const speed = state.throughput?.audio_seconds_per_second ?? 0
  const { processing = 0, pending = 0, retrying = 0 } = counts.value
  const most = state.limits?.max_concurrent_tasks ?? 0
  const wait = history.value?.samples.findLast((sample) => sample.mean_wait_seconds != null)
  return html`<dl class="figures-row" aria-label=${t('system.figures')} data-testid="figures">
    <${Figure} name=${t('system.speed')} value=${t('system.speed_value', { speed: formatNumber(speed, speed < 10 ? 1 : 0) })} note=${t('system.speed_note')} />
    <${Figure} name=${t('system.running')} value=${t('system.running_value', { count: processing, most })}
      note=${state.occupancy == null ? '' : t('system.running_note', { percent: formatPercent(state.occupancy) })} share=${state.occupancy} />
    <${Figure} name=${t('system.waiting')} value=${formatNumber(pending)} note=${retrying ? t('system.waiting_note', { count: retrying }) : t('system.waiting_none')} />
    <${Figure} name=${t('system.wait')} value=${wait ? formatSpan(wait.mean_wait_seconds) : t('plot.unknown')}
      note=${wait ? t('system.wait_note', { span: formatSpan(wait.p95_wait_seconds) }) : t('system.wait_none')} />
  </dl>`
}

/** share: 0 to 1, drawn as a bar below. */
function Figure({ name, value, note, share }) {
  return html`<div class="figure">
    <dt>${name}</dt>
    <dd><b>${value}</b><small>${note}</small>${share != null && html`<span class="figure-bar" aria-hidden="true"><span style=${{ width: `${Math.min(100, 100 * share)}%` }}></span></span>`}</dd>
  </div>`
}
