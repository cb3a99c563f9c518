/** What happened to a task so far, step by step. */
import { html } from 'htm/preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { fetchTimeline } from '../api.js'
import { isFinished, isRunning } from '../state/store.js'
import { errorText, formatSpan, formatTime, t } from '../text/i18n.js'
import { timelineRows } from '../text/timeline-text.js'

const WINDOW_SECONDS = 30

export function Timeline({ task }) {
  const [isOpen, setOpen] = useState(false)
  return html`<details class="task-timeline" open=${isOpen} data-testid="timeline" onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>${t('timeline.title')}</summary>
    ${isOpen && html`<${Steps} task=${task} />`}
  </details>`
}

function Steps({ task }) {
  const [events, setEvents] = useState(null)
  const [error, setError] = useState(null)
  const list = useRef(null)
  useEffect(() => {
    let isGone = false
    fetchTimeline(task.id).then(
      (answer) => !isGone && setEvents(answer.events),
      (fault) => (fault.name === 'ApiError' ? !isGone && setError(fault) : Promise.reject(fault)),
    )
    return () => (isGone = true)
  }, [task.id, task.status, task.attempts, task.priority, task.device, task.waiting?.code])
  // Of a task that is under way, the latest step is the one that is looked for.
  useLayoutEffect(() => {
    if (list.current && !isFinished(task)) list.current.scrollTop = list.current.scrollHeight
  }, [events])
  if (events === null)
    return html`<p class="faint" role="status">${error ? errorText(error) : t('timeline.loading')}</p>`
  if (events.length === 0) return html`<p class="faint">${t('timeline.empty')}</p>`
  return html`<ol class="steps" ref=${list} tabindex="0" aria-label=${t('timeline.title')} data-testid="steps">
    ${timelineRows(events).map((row) => html`<${Step} key=${`${row.at} ${row.code}`} row=${row} />`)}
    ${isRunning(task) && html`<li class="step is-now" data-code="windows"><span class="step-words">${windowsText(task)}</span><span class="step-gap">${t('timeline.now')}</span></li>`}
  </ol>`
}

function Step({ row }) {
  return html`<li class="step is-${row.tone}" data-testid="step" data-code=${row.code}>
    <span class="step-words">${row.words}</span>
    <time dateTime=${row.at}>${formatTime(Date.parse(row.at))}</time>
    ${row.gapSeconds >= 1 && html`<span class="step-gap">${t('timeline.gap', { span: formatSpan(row.gapSeconds) })}</span>`}
  </li>`
}

/** In exact mode the windows are those of the recording; in fast mode its parts, whose number the page does not know. */
function windowsText({ windows_done: done = 0, progress, audio_seconds: seconds, options }) {
  if (!seconds || options.mode !== 'exact') return t('timeline.windows', { count: done })
  const count = Math.ceil(seconds / WINDOW_SECONDS)
  return t('timeline.windows_of', { done: Math.max(done, Math.floor(progress * count)), count })
}
