/** One task of the queue: what it is, how it stands, and what can be done with it. */
import { html } from 'htm/preact'
import * as selection from '../state/selection.js'
import { isFinished, isRunning, isWaiting, models, system, taskOf } from '../state/store.js'
import { lastLine, transcriptOf } from '../state/transcripts.js'
import { waitReasonNow } from '../state/wait-reason.js'
import { expectedText } from '../text/expected-text.js'
import {
  errorText,
  formatAgo,
  formatBytes,
  formatClock,
  formatMoment,
  formatNumber,
  formatPercent,
  formatSpan,
  languageName,
  t,
  waitReasonText,
} from '../text/i18n.js'
import { openId, openTask } from '../util/address.js'
import { eachHalfMinute, eachSecond } from '../util/ticker.js'
import { Chip } from './chip.js'
import { confirmDelete } from './confirm.js'
import { DownloadMenu } from './download.js'
import { Icon } from './icons.js'

const PRIORITIES = ['low', 'normal', 'high']

export function TaskRow({ id }) {
  const task = taskOf(id)?.value
  if (!task) return null
  const isOpen = openId.value === id
  return html`<li class="task is-${task.status} ${isOpen ? 'is-open' : ''}" data-testid="task" data-task-id=${id} data-status=${task.status} data-filename=${task.filename}>
    <label class="task-check">
      <input type="checkbox" checked=${selection.isSelected(id)} aria-label=${t('task.select', { name: task.filename })} data-testid="select" onChange=${() => selection.toggle(id)} />
    </label>
    <div class="task-body">
      <p class="task-top">
        <button type="button" class="task-name" dir="auto" aria-expanded=${isOpen} aria-label=${t('task.open', { name: task.filename })} title=${task.filename} data-testid="open" onClick=${() => openTask(id)}>${task.filename}</button>
        <${Chip} status=${task.status} />
      </p>
      <${Meta} task=${task} />
      <${State} task=${task} />
    </div>
    <${Actions} task=${task} />
  </li>`
}

export function Meta({ task }) {
  const { options, language } = task
  const english = models.value?.languages?.[language]
  return html`<p class="task-meta">
    <span>${options.model}</span>
    ${language && html`<span>${languageName(language, english)}</span>`}
    ${options.task === 'translate' && html`<span>${t('task.translate_to')}</span>`}
    <span title=${t(`mode.${options.mode}_hint`)} data-testid="task-mode">${t(`mode.${options.mode}`)}</span>
    ${task.audio_seconds != null && html`<span>${formatClock(task.audio_seconds)}</span>`}
    <span>${formatBytes(task.size_bytes)}</span>
    ${isRunning(task) && task.device && html`<span>${task.device}</span>`}
    ${task.status === 'completed' && task.started_at && html`<span>${t('task.took', { span: formatSpan((Date.parse(task.finished_at) - Date.parse(task.started_at)) / 1000) })}</span>`}
    <${Ago} iso=${task.created_at} />
  </p>`
}

function Ago({ iso }) {
  return html`<time dateTime=${iso} title=${t('task.uploaded', { moment: formatMoment(iso) })}>${formatAgo(iso, Math.max(eachHalfMinute.value, Date.parse(iso)))}</time>`
}

function State({ task }) {
  if (isRunning(task)) return html`<${Running} task=${task} />`
  if (isWaiting(task)) return html`<${Waiting} task=${task} />`
  if (task.status === 'failed' && task.error)
    return html`<p class="problem" data-testid="task-error"><${Icon} name="alert" />${errorText(task.error)}</p>`
  return null
}

function Running({ task }) {
  return html`<div class="bar-row">
      <progress value=${task.progress} max="1" aria-label=${t('task.progress', { name: task.filename })} data-testid="progress"></progress>
      <span class="figures">${formatPercent(task.progress)}</span>
      <${TimeLeft} task=${task} />
    </div>
    <${LiveLine} id=${task.id} />`
}

/** Counts down by itself between two messages. */
export function TimeLeft({ task }) {
  const parts = []
  if (task.eta_seconds != null) {
    const passed = Math.max(0, (eachSecond.value - task.receivedAt) / 1000)
    parts.push(t('task.left', { span: formatSpan(Math.max(1, task.eta_seconds - passed)) }))
  }
  if (task.speed) parts.push(t('task.speed', { speed: formatNumber(task.speed, task.speed < 10 ? 1 : 0) }))
  if (task.attempts > 1) parts.push(t('task.attempt', { attempt: task.attempts, max: task.max_attempts }))
  return html`<span class="time-left" data-testid="eta">${parts.map((part) => html`<span>${part}</span>`)}</span>`
}

function LiveLine({ id }) {
  const words = lastLine(transcriptOf(id).value)
  return html`<p class="live-line ${words ? '' : 'is-empty'}" dir="auto" data-testid="live-text">${words || t('task.listening')}</p>`
}

function Waiting({ task }) {
  // Being the third in line says already that two are ahead.
  const waiting = waitReasonNow(task, system.value?.fetches, eachSecond.value)
  const isPlaceOnly = task.position && waiting?.code === 'tasks_ahead'
  const reason = isPlaceOnly ? '' : waitReasonText(waiting, task.waiting_reason)
  const place =
    waiting?.data?.seconds !== undefined
      ? null
      : task.position === 1
        ? t('task.next')
        : task.position
          ? t('task.position', { position: task.position })
          : null
  const expected = expectedText(task, eachSecond.value)
  return html`<div class="waiting">
    ${place && html`<span class="place" data-testid="position">${place}</span>`}
    ${reason && html`<span class="reason" data-testid="waiting-reason">${reason}</span>`}
    ${expected && html`<span class="expected" title=${expected.start} data-testid="expected">${expected.end}</span>`}
    ${task.error && html`<span class="problem-note">${errorText(task.error)}</span>`}
    ${task.status === 'retrying' && html`<span>${t('task.attempt', { attempt: task.attempts + 1, max: task.max_attempts })}</span>`}
    <select class="mini" aria-label=${t('task.priority_of', { name: task.filename })} title=${t('option.priority')} value=${task.priority} data-testid="task-priority"
      onChange=${(event) => selection.changePriority(task.id, event.target.value)}>
      ${PRIORITIES.map((priority) => html`<option value=${priority} selected=${priority === task.priority}>${t('task.priority_is', { priority: t(`priority.${priority}`) })}</option>`)}
    </select>
  </div>`
}

function Actions({ task }) {
  const { id, filename: name, status } = task
  const canRetry = status === 'failed' || status === 'cancelled'
  return html`<div class="task-actions">
    ${status === 'completed' && html`<${DownloadMenu} task=${task} label=${t('task.download_of', { name })} />`}
    ${canRetry && html`<${Action} icon="retry" label=${t('task.retry_of', { name })} title=${t('task.retry')} testid="retry" onClick=${() => selection.retry([id])} />`}
    ${!isFinished(task) && html`<${Action} icon="stop" label=${t('task.cancel_of', { name })} title=${t('task.cancel')} testid="cancel" onClick=${() => selection.cancel([id])} />`}
    <${Action} icon="trash" label=${t('task.delete_of', { name })} title=${t('task.delete')} testid="delete" onClick=${() => removeAsked([id])} />
  </div>`
}

const Action = ({ icon, label, title, testid, onClick }) =>
  html`<button type="button" class="round" aria-label=${label} title=${title} data-testid=${testid} onClick=${onClick}><${Icon} name=${icon} /></button>`

/** Deletes after asking; the focus goes to the queue, for its old place is gone. */
export async function removeAsked(ids) {
  if (!(await confirmDelete(ids.length))) return
  await selection.remove(ids)
  document.getElementById('queue')?.focus()
}
