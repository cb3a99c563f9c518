/** An open task: its player, text, search and downloads. Beside the queue where there is room, else over the page. */
import { html } from 'htm/preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { STEP_S, usePlayer } from '../hooks/use-player.js'
import { fetchOf } from '../state/model-fetches.js'
import { loadTask, taskOf } from '../state/store.js'
import { isRunning, isWaiting } from '../state/task.js'
import { loadTranscript, transcriptOf } from '../state/transcripts.js'
import { waitReasonNow } from '../state/wait-reason.js'
import { expectedText } from '../text/expected-text.js'
import { formatBytes } from '../text/format.js'
import { t } from '../text/i18n.js'
import { errorText, waitReasonText } from '../text/messages.js'
import { closeTask } from '../util/address.js'
import { eachSecond } from '../util/ticker.js'
import { Chip } from './chip.js'
import { IconButton } from './icon-button.js'
import { Player } from './player.js'
import { Problem } from './problem.js'
import { ProgressBar } from './progress-bar.js'
import { Segments } from './segments.js'
import { TaskFacts, TimeLeft } from './task-facts.js'
import { Timeline } from './timeline.js'
import { Tracks } from './tracks.js'
import { TranscriptTools } from './transcript-tools.js'

/** isModal: the panel covers the page, as it does on a phone. */
export function TranscriptPanel({ id, isModal }) {
  const task = taskOf(id)?.value
  const [error, setError] = useState(null)
  const panel = useRef(null)
  useEffect(() => {
    if (!task) loadTask(id).catch((fault) => (fault.name === 'ApiError' ? setError(fault) : Promise.reject(fault)))
  }, [id])
  // Before the page is painted: it turns inert, and the browser then forgets which element had the focus.
  useLayoutEffect(() => holdFocus(panel.current), [id])
  return html`<aside class="panel" ref=${panel} role=${isModal ? 'dialog' : 'region'} aria-modal=${isModal ? 'true' : undefined}
    aria-label=${t('transcript.title')} data-testid="transcript" data-task-id=${id} tabindex="-1" onKeyDown=${closeOnEscape}>
    ${task ? html`<${Content} key=${id} task=${task} />` : html`<${Missing} error=${error} />`}
  </aside>`
}

/** Moves the focus into the panel. Returns how to give it back to the element that had it. */
function holdFocus(panel) {
  const before = document.activeElement
  // The content handles the keys of the player.
  const inner = panel.querySelector('.panel-content') ?? panel
  inner.focus({ preventScroll: true })
  // The queue has become narrower, so the task that was clicked may have moved out of view.
  before?.closest('.task')?.scrollIntoView({ block: 'nearest' })
  return () =>
    requestAnimationFrame(() => {
      if (before?.isConnected && document.activeElement === document.body) before.focus({ preventScroll: true })
    })
}

function Missing({ error }) {
  return html`<header class="panel-head"><span class="spring"></span><${Close} /></header>
    <div class="blank" data-testid="transcript-missing">
      ${error ? html`<p class="blank-title">${errorText(error)}</p>` : html`<p aria-busy="true">${t('queue.loading')}</p>`}
    </div>`
}

const Close = () =>
  html`<${IconButton} icon="close" label=${t('transcript.close')} testid="close-transcript" onClick=${closeTask} />`

function Content({ task }) {
  const content = transcriptOf(task.id).value
  const player = usePlayer(task.id)
  const [query, setQuery] = useState('')
  useEffect(() => {
    loadTranscript(task.id)
  }, [task.id, task.status])
  return html`<div class="panel-content" tabindex="-1" onKeyDown=${(event) => onPlayerKey(event, player)}>
    <header class="panel-head">
      <div class="panel-title"><h2 dir="auto" title=${task.filename}>${task.filename}</h2><${Chip} status=${task.status} /></div>
      <${Close} />
    </header>
    <${TaskFacts} task=${task} precision=${content.precision} hasCoarseTimes=${content.hasCoarseTimes} />
    <${Tracks} task=${task} />
    <${Memory} memory=${task.memory} />
    <${Timeline} task=${task} />
    <${Player} task=${task} player=${player} />
    <${TranscriptTools} task=${task} content=${content} query=${query} setQuery=${setQuery} />
    <${State} task=${task} />
    <${Segments} task=${task} content=${content} player=${player} query=${query} />
  </div>`
}

/**
 * What is reserved for the running attempt itself; once it is done, what was reserved and what was measured, both with
 * the task's part of what it shared with others.
 */
function Memory({ memory }) {
  if (!memory?.estimated_bytes) return null
  const { estimated_bytes, reserved_bytes, measured_bytes } = memory
  const text =
    reserved_bytes && measured_bytes
      ? t('task.memory_used', { estimated: formatBytes(reserved_bytes), peak: formatBytes(measured_bytes) })
      : t('task.memory', { estimated: formatBytes(estimated_bytes) })
  return html`<p class="task-meta" data-testid="memory"><span>${text}</span></p>`
}

function State({ task }) {
  if (isRunning(task)) {
    const label = t('task.progress', { name: task.filename })
    return html`<${ProgressBar} value=${task.progress} label=${label} role="status"><${TimeLeft} task=${task} /><//>`
  }
  if (isWaiting(task)) return html`<${WaitingHint} task=${task} />`
  if (task.status === 'failed' && task.error) return html`<${Problem} error=${task.error} />`
  return null
}

function WaitingHint({ task }) {
  const waiting = waitReasonNow(task, fetchOf(task.options.model), eachSecond.value)
  const expected = expectedText(task, eachSecond.value)
  return html`<p class="hint">
    <span>${waitReasonText(waiting, task.waiting_reason) || t('transcript.waiting')}</span>
    ${expected && html`<span>${expected.start}</span><span>${expected.end}</span>`}
  </p>`
}

/** Works wherever in the panel the focus is. A menu that Escape closes first keeps the key to itself. */
function closeOnEscape(event) {
  if (event.key === 'Escape' && !event.defaultPrevented) closeTask()
}

/** Space plays or pauses, left and right step. Fields and buttons keep the keys that they need themselves. */
function onPlayerKey(event, player) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.target.closest('input, select, textarea')) return
  const isButton = event.target.closest('button, a, summary') && !event.target.closest('.segment')
  const actions = {
    ' ': isButton ? null : player.toggle,
    ArrowLeft: () => player.step(-STEP_S),
    ArrowRight: () => player.step(STEP_S),
  }
  const action = actions[event.key]
  if (!action) return
  event.preventDefault()
  action()
}
