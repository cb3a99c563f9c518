/** The System view: what the system does now, what it has done, and why. */
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { usePolling } from '../../hooks/use-polling.js'
import { isAdmin } from '../../state/account.js'
import { eventLogError, readEvents, readLog } from '../../state/event-log.js'
import { history, historyError, hours, RANGES, readHistory, refreshSeconds } from '../../state/history.js'
import { lacksWebSockets } from '../../state/proxy.js'
import { system } from '../../state/store.js'
import { t } from '../../text/i18n.js'
import { adviceText, errorText } from '../../text/messages.js'
import { Icon } from '../icons.js'
import { Accuracy } from './accuracy.js'
import { EventLog } from './event-log.js'
import { Figures } from './figures.js'
import { Limits } from './limits.js'
import { Log } from './log.js'
import { Models } from './models.js'
import { Plots } from './plots.js'
import { Slots } from './slots.js'

const LOG_EVERY_S = 10
const EVENTS_PAUSE_MS = 2000

export function SystemView() {
  const title = useRef(null)
  useEffect(() => title.current.focus({ preventScroll: true }), [])
  usePolling(readHistory, refreshSeconds.value, [hours.value])
  usePolling(readLog, LOG_EVERY_S)
  usePolling(readEvents, LOG_EVERY_S)
  useEventsAfterChanges()
  const error = historyError.value ?? eventLogError.value
  return html`<section class="system" aria-labelledby="system-title" data-testid="system">
    <div class="system-head">
      <h2 id="system-title" ref=${title} tabindex="-1">${t('system.title')}</h2>
      <${ChangesKey} /><${Range} />
    </div>
    ${error && html`<${ReadError} error=${error} />`}
    <${Advice} />
    <${Figures} />
    <${Plots} />
    <${Slots} />
    <div class="system-pair"><${Limits} /><${Accuracy} /></div>
    <${Models} />
    <div class="system-pair"><${EventLog} />${isAdmin && html`<${Log} />`}</div>
  </section>`
}

/** A report of the live feed often follows an event, so events are read again after one, but not after every one. */
function useEventsAfterChanges() {
  const timer = useRef(null)
  useEffect(() => {
    if (timer.current !== null || document.hidden) return
    timer.current = setTimeout(() => {
      timer.current = null
      readEvents()
    }, EVENTS_PAUSE_MS)
  }, [system.value])
  useEffect(() => () => clearTimeout(timer.current), [])
}

function ReadError({ error }) {
  return html`<p class="notice" role="status" data-testid="system-error">${t('system.failed', { reason: errorText(error) })}</p>`
}

function Range() {
  return html`<fieldset class="segmented" data-testid="range">
    <legend>${t('system.range')}</legend>
    ${RANGES.map((value) => html`<${RangeChoice} key=${value} value=${value} />`)}
  </fieldset>`
}

function RangeChoice({ value }) {
  return html`<label>
    <input type="radio" name="range" value=${value} checked=${hours.value === value} data-testid="range-${value}"
      onChange=${() => (hours.value = value)} />
    <span>${t(value < 1 ? 'system.range_minutes' : `system.range_${value}`)}</span>
  </label>`
}

/** What the marks in the plots mean. */
function ChangesKey() {
  const count = history.value?.changes.length ?? 0
  if (count === 0) return null
  return html`<p class="changes-key" data-testid="changes-key"><i class="swatch-change"></i>${t('plot.changes', { count })}</p>`
}

/** What only the page can see. */
const proxyAdvice = () => (lacksWebSockets.value ? [{ code: 'no_websockets', text: t('live.no_websockets') }] : [])

/** For whoever can follow it. */
function Advice() {
  if (!isAdmin) return null
  const items = [...proxyAdvice(), ...(system.value?.advice_items ?? [])]
  if (items.length === 0) return null
  return html`<ul class="advices" aria-label=${t('system.advice')} data-testid="advice">
    ${items.map((item) => html`<li key=${item.text}><${Icon} name="bulb" /><span>${adviceText(item)}</span></li>`)}
  </ul>`
}
