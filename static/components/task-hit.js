/** Where a search found a task: the sentence, its words marked, and when it was said; or what of the note has them. */
import { html } from 'htm/preact'
import { query } from '../state/store.js'
import { formatClock } from '../text/format.js'
import { t } from '../text/i18n.js'

/** A hit elsewhere needs no line of its own: names and tags are in view. */
const SHOWN = new Set(['text', 'note'])

export function TaskHit({ task }) {
  const { match } = task
  if (!query.value || !SHOWN.has(match?.field)) return null
  return html`<p class="task-hit" data-testid="hit-sentence">
    <${Place} match=${match} />
    <span dir="auto">${match.snippet.map((part) => (part.marked ? html`<mark>${part.text}</mark>` : part.text))}</span>
  </p>`
}

function Place({ match }) {
  if (match.field !== 'text') return html`<b>${t('task.hit_note')}</b>`
  const time = formatClock(match.start)
  return html`<time aria-label=${t('task.hit_at', { time })}>${time}</time>`
}

/** Where the task opens while a search is on: {query, seconds}; undefined when there is none. */
export const placeOfHit = (task) =>
  query.value ? { query: query.value, seconds: task.match?.start ?? null } : undefined
