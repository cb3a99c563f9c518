/** What the scheduler decided and what happened to the devices, newest first. */
import { html } from 'htm/preact'
import { chooseKind, events, hasOlder, KINDS, kind, readOlder } from '../../state/event-log.js'
import { nameOf } from '../../state/task-names.js'
import { decisionText, eventText } from '../../text/event-text.js'
import { formatTime, t } from '../../text/i18n.js'
import { tuningText } from '../../text/tuning-text.js'
import { taskAddress } from '../../util/address.js'

export function EventLog() {
  const list = events.value
  return html`<section class="panel-card" aria-labelledby="events-title" data-testid="event-log">
    <h3 id="events-title">${t('events.title')}</h3>
    <section class="tabs" aria-label=${t('events.kind')}>
      ${[...KINDS, ''].map((name) => html`<button type="button" class="tab" key=${name} aria-pressed=${kind.value === name} data-testid="kind-${name || 'all'}" onClick=${() => chooseKind(name)}>${t(`events.${name || 'all'}`)}</button>`)}
    </section>
    ${list?.length === 0 && html`<p class="faint" data-testid="events-empty">${t('events.empty')}</p>`}
    ${
      list?.length > 0 &&
      html`<ol class="event-list" tabindex="0" aria-labelledby="events-title" data-testid="events">
      ${list.map((event) => html`<${Event} key=${event.id} event=${event} />`)}
      ${hasOlder.value && html`<li class="more"><button type="button" class="quiet small" data-testid="older" onClick=${readOlder}>${t('events.older')}</button></li>`}
    </ol>`
    }
  </section>`
}

function Event({ event }) {
  return html`<li class="is-${event.kind}" data-testid="event" data-kind=${event.kind}>
    <time>${formatTime(event.at * 1000)}</time>
    <span><${Words} event=${event} /></span>
  </li>`
}

function Words({ event }) {
  const { kind: kindOf, data } = event
  const words = kindOf === 'decision' && data?.task_id ? decisionText(data, nameOf) : null
  if (words !== null) return html`<a href=${taskAddress(data.task_id)} dir="auto">${nameOf(data.task_id)}</a> ${words}`
  return kindOf === 'tuning' ? tuningText(event) : eventText(event)
}
