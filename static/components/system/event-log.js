/** What the scheduler decided and what happened to models and devices, newest first. */
import { html } from 'htm/preact'
import { chooseKind, events, hasOlder, KINDS, kind, readOlderEvents } from '../../state/event-log.js'
import { nameOf } from '../../state/task-names.js'
import { decisionText, eventText, tuningText } from '../../text/event-text.js'
import { formatTime } from '../../text/format.js'
import { t } from '../../text/i18n.js'
import { taskAddress } from '../../util/address.js'

export function EventLog() {
  const list = events.value
  return html`<section class="panel-card" aria-labelledby="events-title" data-testid="event-log">
    <h3 id="events-title">${t('events.title')}</h3>
    <${KindTabs} />
    ${list?.length === 0 && html`<p class="faint" data-testid="events-empty">${t('events.empty')}</p>`}
    ${list?.length > 0 && html`<${List} list=${list} />`}
  </section>`
}

function KindTabs() {
  return html`<section class="tabs" aria-label=${t('events.kind')}>
    ${[...KINDS, ''].map(
      (name) => html`<button type="button" class="tab" key=${name} aria-pressed=${kind.value === name}
        data-testid="kind-${name || 'all'}" onClick=${() => chooseKind(name)}>${t(`events.${name || 'all'}`)}</button>`,
    )}
  </section>`
}

function List({ list }) {
  return html`<ol class="event-list" tabindex="0" aria-labelledby="events-title" data-testid="events">
    ${list.map((event) => html`<${Event} key=${event.id} event=${event} />`)}
    ${hasOlder.value && html`<${Older} />`}
  </ol>`
}

function Older() {
  return html`<li class="more">
    <button type="button" class="quiet small" data-testid="older" onClick=${readOlderEvents}>${t('events.older')}</button>
  </li>`
}

function Event({ event }) {
  return html`<li class="is-${event.kind}" data-testid="event" data-kind=${event.kind}>
    <time>${formatTime(event.at * 1000)}</time>
    <span><${Sentence} event=${event} /></span>
  </li>`
}

/** A decision about a task starts with a link to it. */
function Sentence({ event }) {
  const { data } = event
  const decision = event.kind === 'decision' && data?.task_id ? decisionText(data, nameOf) : null
  if (decision !== null) {
    return html`<a href=${taskAddress(data.task_id)} dir="auto">${nameOf(data.task_id)}</a> ${decision}`
  }
  return event.kind === 'tuning' ? tuningText(event) : eventText(event)
}
