/** The two limits that can be changed at once, and what the system changed by itself. */
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { setLimits } from '../../api.js'
import { history } from '../../state/history.js'
import { applySystem, system } from '../../state/store.js'
import { errorText, formatChange, formatTime, t } from '../../text/i18n.js'
import { tuningFigures, tuningText } from '../../text/tuning-text.js'

/** Each limit with the settings that bound it. */
const LIMITS = {
  max_concurrent_tasks: ['MIN_CONCURRENT_TASKS', 'MAX_CONCURRENT_TASKS_LIMIT'],
  max_batch_size: ['MIN_BATCH_SIZE', 'MAX_BATCH_SIZE'],
}

export function Limits() {
  const limits = system.value?.limits
  if (!limits) return null
  return html`<section class="panel-card" aria-labelledby="limits-title" data-testid="limits">
    <h3 id="limits-title">${t('limits.title')}</h3>
    ${Object.entries(LIMITS).map(([name, bounds]) => html`<${Stepper} key=${name} name=${name} value=${limits[name]} bounds=${boundsOf(bounds)} />`)}
    <p class="faint">${t('limits.hint')} ${t(system.value.adaptive?.enabled ? 'limits.adaptive_on' : 'limits.adaptive_off')}</p>
    <h4>${t('limits.changes')}</h4>
    <${Changes} />
  </section>`
}

/** {least, most} of the settings; most is Infinity where the server chooses it (auto). */
function boundsOf([least, most]) {
  const settings = system.value.settings ?? {}
  return { least: settings[least] ?? 1, most: Number.isInteger(settings[most]) ? settings[most] : Infinity }
}

/** Every step is sent; while one is under way only the newest wish waits behind it. */
function Stepper({ name, value, bounds: { least, most } }) {
  const [wish, setWish] = useState(null)
  const [error, setError] = useState(null)
  const sending = useRef({ isBusy: false, next: null })
  const shown = wish ?? value
  const label = t(`limits.${name}`)

  const send = async (wanted) => {
    sending.current.next = wanted
    if (sending.current.isBusy) return
    sending.current.isBusy = true
    setError(null)
    while (sending.current.next !== null) {
      const now = sending.current.next
      sending.current.next = null
      try {
        applySystem(await setLimits({ [name]: now }))
      } catch (fault) {
        if (fault.name !== 'ApiError') throw fault
        setError(fault)
      }
    }
    sending.current.isBusy = false
    setWish(null)
  }
  const wishFor = (wanted) => {
    if (wanted === shown) return
    setWish(wanted)
    send(wanted)
  }
  return html`<div class="stepper" data-testid="limit-${name}">
    <label for="limit-${name}">${label} <small>${most === Infinity ? t('limits.from', { least }) : t('limits.bounds', { least, most })}</small></label>
    <div class="stepper-controls">
      <button type="button" class="quiet round" aria-label=${t('limits.less', { name: label })} disabled=${shown <= least} data-testid="less" onClick=${() => wishFor(shown - 1)}>−</button>
      <${Value} id="limit-${name}" value=${shown} onWish=${wishFor} />
      <button type="button" class="quiet round" aria-label=${t('limits.more', { name: label })} disabled=${shown >= most} data-testid="more" onClick=${() => wishFor(shown + 1)}>+</button>
    </div>
    <p class="problem" role="alert" data-testid="limit-error">${error && errorText(error)}</p>
  </div>`
}

/** What is typed counts when the field is left or Enter is pressed; anything else goes back to what holds. */
function Value({ id, value, onWish }) {
  const field = useRef(null)
  const isTyping = useRef(false)
  useEffect(() => {
    if (!isTyping.current) field.current.value = value
  }, [value])
  const take = () => {
    isTyping.current = false
    const wanted = Number(field.current.value)
    if (Number.isInteger(wanted) && wanted >= 1) onWish(wanted)
    else field.current.value = value
  }
  return html`<input id=${id} ref=${field} type="number" inputmode="numeric" min="1" step="1" defaultValue=${value} data-testid="value"
    onInput=${() => (isTyping.current = true)} onChange=${take} />`
}

function Changes() {
  const changes = [...(history.value?.changes ?? [])].reverse()
  if (changes.length === 0) return html`<p class="faint">${t('limits.no_changes')}</p>`
  return html`<ol class="event-list is-short" data-testid="changes">
    ${changes.map((change) => html`<li key=${change.at}><time>${formatTime(change.at * 1000)}</time><span>${tuningText(change)}<${Effect} change=${change} /></span></li>`)}
  </ol>`
}

/** From which value to which, and what it brought where that was measured. */
function Effect({ change }) {
  const figures = tuningFigures(change)
  if (figures === null) return null
  const { values, effect } = figures
  return html`<span class="effects"><b>${values}</b>${effect !== null && html`<b class=${effect < 0 ? 'is-loss' : 'is-gain'}>${t('tuning.effect', { change: formatChange(effect) })}</b>`}</span>`
}
