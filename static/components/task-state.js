/** How a task of the queue stands: its progress and newest text, why it waits, or why it failed. */
import { html } from 'htm/preact'
import { fetchOf } from '../state/model-fetches.js'
import * as selection from '../state/selection.js'
import { isRunning, isWaiting, nameOfTask, onlyTellsSpeakers, PRIORITIES } from '../state/task.js'
import { lastLine, transcriptOf } from '../state/transcripts.js'
import { waitReasonNow } from '../state/wait-reason.js'
import { expectedText } from '../text/expected-text.js'
import { t } from '../text/i18n.js'
import { errorText, waitReasonText } from '../text/messages.js'
import { eachSecond } from '../util/ticker.js'
import { Problem } from './problem.js'
import { ProgressBar } from './progress-bar.js'
import { TimeLeft } from './task-facts.js'

export function TaskState({ task }) {
  if (isRunning(task)) return html`<${Running} task=${task} />`
  if (isWaiting(task)) return html`<${Waiting} task=${task} />`
  if (task.status === 'failed' && task.error) return html`<${Problem} error=${task.error} testid="task-error" />`
  return null
}

function Running({ task }) {
  return html`<${TaskProgress} task=${task} testid="progress" />
    <${LiveLine} task=${task} />`
}

/** Of the transcription; once the text is there, of telling its speakers apart. */
export function TaskProgress({ task, testid, role }) {
  const speakers = task.speakers_progress ?? null
  const label = t(speakers === null ? 'task.progress' : 'task.speakers_progress', { name: nameOfTask(task) })
  return html`<${ProgressBar} value=${speakers ?? task.progress} label=${label} testid=${testid} role=${role}>
    <${TimeLeft} task=${task} />
  <//>`
}

function LiveLine({ task }) {
  const isTelling = task.speakers_progress != null || onlyTellsSpeakers(task)
  const line = isTelling ? t('task.telling_speakers') : lastLine(transcriptOf(task.id).value)
  return html`<p class="live-line ${line ? '' : 'is-empty'}" dir="auto" data-testid="live-text">${line || t('task.listening')}</p>`
}

function Waiting({ task }) {
  const waiting = waitReasonNow(task, fetchOf(task.options.model), eachSecond.value)
  const place = placeText(task, waiting)
  const reason = reasonText(task, waiting)
  const expected = expectedText(task, eachSecond.value)
  const attempt =
    task.status === 'retrying' && t('task.attempt', { attempt: task.attempts + 1, max: task.max_attempts })
  return html`<div class="waiting">
    ${place && html`<span class="place" data-testid="position">${place}</span>`}
    ${reason && html`<span class="reason" data-testid="waiting-reason">${reason}</span>`}
    ${expected && html`<span class="expected" title=${expected.start} data-testid="expected">${expected.end}</span>`}
    ${task.error && html`<span class="problem-note">${errorText(task.error)}</span>`}
    ${attempt && html`<span>${attempt}</span>`}
    <${PrioritySelect} task=${task} />
  </div>`
}

/** The place in line; a task that waits for a delay has none that matters. */
function placeText({ position }, waiting) {
  if (!position || waiting?.data?.seconds !== undefined) return null
  return position === 1 ? t('task.next') : t('task.position', { position })
}

/** Nothing where the place says it already: the third in line has two tasks ahead. */
function reasonText({ position, waiting_reason: sentence }, waiting) {
  return position && waiting?.code === 'tasks_ahead' ? null : waitReasonText(waiting, sentence)
}

function PrioritySelect({ task }) {
  return html`<select class="mini" aria-label=${t('task.priority_of', { name: nameOfTask(task) })} title=${t('option.priority')}
    value=${task.priority} data-testid="task-priority" onChange=${(event) => selection.changePriority(task.id, event.target.value)}>
    ${PRIORITIES.map(
      (priority) => html`<option value=${priority} selected=${priority === task.priority}>
        ${t('task.priority_is', { priority: t(`priority.${priority}`) })}
      </option>`,
    )}
  </select>`
}
