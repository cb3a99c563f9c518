/** What has happened to a task so far, step by step. */
import { html } from 'htm/preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { fetchTimeline } from '../api.js'
import { isFinished, isRunning } from '../state/task.js'
import { formatSpan, formatTime } from '../text/format.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'
import { timelineRows } from '../text/timeline-text.js'

const WINDOW_SECONDS = 30

/** Folded away at first, and read from the server only when it is opened. */
export function Timeline({ task }) {
  const [isOpen, setOpen] = useState(false)
  return html`<details class="task-timeline" open=${isOpen} data-testid="timeline" onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>${t('timeline.title')}</summary>
    ${isOpen && html`<${Steps} task=${task} />`}
  </details>`
}

function Steps({ task }) {
  const { events, error } = useTimeline(task)
  const list = useRef(null)
  // The latest step of an unfinished task is the one of interest.
  useLayoutEffect(() => {
    if (list.current && !isFinished(task)) list.current.scrollTop = list.current.scrollHeight
  }, [events])
  if (events === null)
    return html`<p class="faint" role="status">${error ? errorText(error) : t('timeline.loading')}</p>`
  if (events.length === 0) return html`<p class="faint">${t('timeline.empty')}</p>`
  return html`<ol class="steps" ref=${list} tabindex="0" aria-label=${t('timeline.title')} data-testid="steps">
    ${timelineRows(events).map((row) => html`<${Step} key=${`${row.at} ${row.code}`} row=${row} />`)}
    ${isRunning(task) && html`<${StepNow} task=${task} />`}
  </ol>`
}

/** The task's events, read again whenever something about the task changes that adds one. */
function useTimeline(task) {
  const [events, setEvents] = useState(null)
  const [error, setError] = useState(null)
  useEffect(() => {
    let isGone = false
    fetchTimeline(task.id).then(
      (answer) => !isGone && setEvents(answer.events),
      (fault) => (fault.name === 'ApiError' ? !isGone && setError(fault) : Promise.reject(fault)),
    )
    return () => (isGone = true)
  }, [task.id, task.status, task.attempts, task.priority, task.device, task.waiting?.code])
  return { events, error }
}

function Step({ row }) {
  return html`<li class="step is-${row.tone}" data-testid="step" data-code=${row.code}>
    <span class="step-words">${row.text}</span>
    <time dateTime=${row.at}>${formatTime(Date.parse(row.at))}</time>
    ${row.gapSeconds >= 1 && html`<span class="step-gap">${t('timeline.gap', { span: formatSpan(row.gapSeconds) })}</span>`}
  </li>`
}

function StepNow({ task }) {
  return html`<li class="step is-now" data-code="windows">
    <span class="step-words">${windowsText(task)}</span><span class="step-gap">${t('timeline.now')}</span>
  </li>`
}

/** In exact mode the number of windows follows from the length; in fast mode the page does not know how many there are. */
function windowsText({ windows_done: done = 0, progress, audio_seconds: seconds, options }) {
  if (!seconds || options.mode !== 'exact')
    return done ? t('timeline.windows', { count: done }) : t('status.processing')
  const count = Math.ceil(seconds / WINDOW_SECONDS)
  return t('timeline.windows_of', { done: Math.max(done, Math.floor(progress * count)), count })
}
