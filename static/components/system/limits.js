/** The two limits that can be changed while the server runs, and the changes that the system made by itself. */
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useLimit } from '../../hooks/use-limit.js'
import { isAdmin } from '../../state/account.js'
import { history } from '../../state/history.js'
import { system } from '../../state/store.js'
import { tuningFigures, tuningText } from '../../text/event-text.js'
import { formatChange, formatTime } from '../../text/format.js'
import { sentences, t } from '../../text/i18n.js'
import { errorText } from '../../text/messages.js'

/** Each limit with the settings that bound it. */
const LIMITS = {
  max_concurrent_tasks: ['MIN_CONCURRENT_TASKS', 'MAX_CONCURRENT_TASKS_LIMIT'],
  max_batch_size: ['MIN_BATCH_SIZE', 'MAX_BATCH_SIZE'],
}

export function Limits() {
  const { limits, adaptive } = system.value ?? {}
  if (!limits) return null
  const adaptiveText = t(adaptive?.enabled ? 'limits.adaptive_on' : 'limits.adaptive_off')
  return html`<section class="panel-card" aria-labelledby="limits-title" data-testid="limits">
    <h3 id="limits-title">${t('limits.title')}</h3>
    ${Object.entries(LIMITS).map(
      ([name, settings]) =>
        html`<${Stepper} key=${name} name=${name} value=${limits[name]} bounds=${boundsOf(settings)} />`,
    )}
    <p class="faint">${sentences(t('limits.hint'), adaptiveText)}</p>
    <h4>${t('limits.changes')}</h4>
    <${Changes} />
  </section>`
}

/** The values of the two settings. most is Infinity where the server chooses it (auto). */
function boundsOf([leastSetting, mostSetting]) {
  const settings = system.value.settings ?? {}
  const most = settings[mostSetting]
  return { least: settings[leastSetting] ?? 1, most: Number.isInteger(most) ? most : Infinity }
}

function Stepper({ name, value, bounds: { least, most } }) {
  const { shown, change, error } = useLimit(name, value)
  const label = t(`limits.${name}`)
  const range = most === Infinity ? t('limits.from', { least }) : t('limits.bounds', { least, most })
  return html`<div class="stepper" data-testid="limit-${name}">
    <label for="limit-${name}">${label} <small>${range}</small></label>
    <div class="stepper-controls">
      <button type="button" class="quiet round" aria-label=${t('limits.less', { name: label })} disabled=${!isAdmin || shown <= least}
        data-testid="less" onClick=${() => change(shown - 1)}>−</button>
      <${NumberField} id="limit-${name}" value=${shown} onChange=${change} />
      <button type="button" class="quiet round" aria-label=${t('limits.more', { name: label })} disabled=${!isAdmin || shown >= most}
        data-testid="more" onClick=${() => change(shown + 1)}>+</button>
    </div>
    <p class="problem" role="alert" data-testid="limit-error">${error && errorText(error)}</p>
  </div>`
}

/** Reports a whole number of at least 1 when the field is left or Enter is pressed; anything else is undone. */
function NumberField({ id, value, onChange }) {
  const field = useRef(null)
  const isTyping = useRef(false)
  useEffect(() => {
    if (!isTyping.current) field.current.value = value
  }, [value])
  const finish = () => {
    isTyping.current = false
    const typed = Number(field.current.value)
    if (Number.isInteger(typed) && typed >= 1) onChange(typed)
    else field.current.value = value
  }
  return html`<input id=${id} ref=${field} type="number" inputmode="numeric" min="1" step="1" defaultValue=${value}
    disabled=${!isAdmin}
    data-testid="value" onInput=${() => (isTyping.current = true)} onChange=${finish} />`
}

/** Newest first. */
function Changes() {
  const changes = [...(history.value?.changes ?? [])].reverse()
  if (changes.length === 0) return html`<p class="faint">${t('limits.no_changes')}</p>`
  return html`<ol class="event-list is-short" tabindex="0" aria-label=${t('limits.changes')} data-testid="changes">
    ${changes.map(
      (change) => html`<li key=${change.at}>
        <time>${formatTime(change.at * 1000)}</time>
        <span>${tuningText(change)}<${Effect} change=${change} /></span>
      </li>`,
    )}
  </ol>`
}

/** The old and the new value, and the effect on throughput where it was measured. */
function Effect({ change }) {
  const figures = tuningFigures(change)
  if (figures === null) return null
  const { values, effect } = figures
  return html`<span class="effects">
    <b>${values}</b>
    ${
      effect !== null &&
      html`<b class=${effect < 0 ? 'is-loss' : 'is-gain'}>${t('tuning.effect', { change: formatChange(effect) })}</b>`
    }
  </span>`
}
