/** An open task: its player, text, search and downloads. Beside the queue where there is room, else over the page. */
import { html } from 'htm/preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { keepInView } from '../hooks/follow-player.js'
import { useBeside } from '../hooks/use-beside.js'
import { useEditing } from '../hooks/use-editing.js'
import { useOriginal } from '../hooks/use-original.js'
import { BACK_S, STEP_S, usePlayer } from '../hooks/use-player.js'
import { useTextSearch } from '../hooks/use-text-search.js'
import { connection } from '../state/live-feed.js'
import { fetchOf } from '../state/model-fetches.js'
import { loadTask, taskOf, wasDeleted } from '../state/store.js'
import { isRunning, isWaiting, nameOfTask } from '../state/task.js'
import { loadTranscript, transcriptOf } from '../state/transcripts.js'
import { waitReasonNow } from '../state/wait-reason.js'
import { expectedText } from '../text/expected-text.js'
import { formatBytes } from '../text/format.js'
import { t } from '../text/i18n.js'
import { errorText, waitReasonText } from '../text/messages.js'
import { closeTask, openAt } from '../util/address.js'
import { listen } from '../util/listen.js'
import { eachSecond } from '../util/ticker.js'
import { Chip } from './chip.js'
import { EditBar } from './edit-bar.js'
import { IconButton } from './icon-button.js'
import { Player } from './player.js'
import { Problem } from './problem.js'
import { ReadingOptions } from './reading-options.js'
import { Segments } from './segments.js'
import { TaskFacts } from './task-facts.js'
import { TaskProgress } from './task-state.js'
import { Timeline } from './timeline.js'
import { Tracks } from './tracks.js'
import { TranscriptTools } from './transcript-tools.js'

/** isModal: the panel covers the page, as it does on a phone. */
export function TranscriptPanel({ id, isModal }) {
  const task = taskOf(id)?.value
  const [error, setError] = useState(null)
  const panel = useRef(null)
  useEffect(() => {
    setError(null)
    if (!task) loadTask(id).catch((fault) => (fault.name === 'ApiError' ? setError(fault) : Promise.reject(fault)))
  }, [id])
  // Before the page is painted: it turns inert, and the browser then forgets which element had the focus.
  useLayoutEffect(() => holdFocus(panel.current), [id])
  return html`<section class="panel" ref=${panel} role=${isModal ? 'dialog' : 'region'} aria-modal=${isModal ? 'true' : undefined}
    aria-label=${t('transcript.title')} data-testid="transcript" data-task-id=${id} tabindex="-1" onKeyDown=${closeOnEscape}>
    ${task ? html`<${Content} key=${id} task=${task} />` : html`<${Missing} id=${id} error=${error} />`}
  </section>`
}

/** Moves the focus into the panel. Returns how to give it back to the element that had it. */
function holdFocus(panel) {
  const before = document.activeElement
  // The content handles the keys of the player, and this part of it scrolls.
  const inner = panel.querySelector('.panel-scroll') ?? panel
  inner.focus({ preventScroll: true })
  // The queue has become narrower, so the task that was clicked may have moved out of view.
  before?.closest('.task')?.scrollIntoView({ block: 'nearest' })
  return () =>
    requestAnimationFrame(() => {
      if (before?.isConnected && document.activeElement === document.body) before.focus({ preventScroll: true })
    })
}

function Missing({ id, error }) {
  const text = error ? errorText(error) : wasDeleted(id) && t('transcript.deleted')
  return html`<header class="panel-head"><span class="spring"></span><${Close} /></header>
    <div class="blank" data-testid="transcript-missing" role="status">
      ${text ? html`<p class="blank-title">${text}</p>` : html`<p aria-busy="true">${t('queue.loading')}</p>`}
    </div>`
}

const Close = () =>
  html`<${IconButton} icon="close" label=${t('transcript.close')} testid="close-transcript" onClick=${closeTask} />`

function Content({ task }) {
  const text = transcriptOf(task.id).value
  const content = useOriginal(task.id, text)
  const player = usePlayer(task.id)
  const editing = useEditing(task, text, player)
  const search = useTextSearch(content.segments)
  const beside = useBeside(task, content.segments)
  useText(task, text)
  useTextInView(content)
  useStartAt(content, player)
  return html`<div class="panel-content" onKeyDown=${(event) => onContentKey(event, player, editing)}>
    <header class="panel-head">
      <div class="panel-title"><h2 dir="auto" title=${task.title ? task.filename : undefined}>${nameOfTask(task)}</h2><${Chip} status=${task.status} /></div>
      <${Close} />
    </header>
    <div class="panel-scroll" tabindex="-1">
      <${TaskFacts} task=${task} precision=${content.precision} hasCoarseTimes=${content.hasCoarseTimes} />
      <${Tracks} task=${task} />
      <div class="task-more">
        <${Memory} memory=${task.memory} />
        <${Timeline} task=${task} />
      </div>
      <div class="reading-bar">
        <${Player} task=${task} content=${content} player=${player} />
        <${TranscriptTools} task=${task} content=${content} search=${search} />
        <div class="text-bar">
          <${EditBar} task=${task} content=${content} editing=${editing} />
          <${ReadingOptions} ...${{ task, content, player, beside }} />
        </div>
      </div>
      <${State} task=${task} />
      <${Segments} task=${task} content=${content} player=${player} search=${search} besideTexts=${beside.texts}
        editing=${editing} />
    </div>
  </div>`
}

/** Reads the text when the task is opened or changes its state, and again after a connection was lost before it came. */
function useText(task, content) {
  const isConnected = connection.value === 'connected'
  useEffect(() => {
    loadTranscript(task.id)
  }, [task.id, task.status])
  const hasFailed = content.error !== null
  useEffect(() => {
    if (!hasFailed) return undefined
    return listen(globalThis, { online: () => loadTranscript(task.id) })
  }, [task.id, hasFailed])
  useEffect(() => {
    if (isConnected && hasFailed) loadTranscript(task.id)
  }, [isConnected])
}

/** In a window as low as css/transcript.css has it, the text is what one opens a task for; the rest is a scroll away. */
const LOW = '(max-height: 620px)'

function useTextInView(content) {
  const hasText = content.segments.length > 0
  useLayoutEffect(() => {
    if (hasText && matchMedia(LOW).matches)
      document.querySelector('.panel .controls')?.scrollIntoView({ block: 'start' })
  }, [hasText])
}

/** Moves the player to the moment that the address names, once there is a text to show it in. */
function useStartAt(content, player) {
  const seconds = openAt.value
  const hasText = content.segments.length > 0
  useEffect(() => {
    if (!hasText || seconds === null) return
    player.seek(seconds)
    keepInView(document.querySelector('.segment[aria-current]'))
  }, [hasText, seconds])
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
    return html`<${TaskProgress} task=${task} role="status" />`
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

function onContentKey(event, player, editing) {
  editing.onKey(event)
  onPlayerKey(event, player)
}

/** Space plays or pauses, left and right step. Fields and buttons keep the keys that they need themselves. */
function onPlayerKey(event, player) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.target.closest('input, select, textarea, [contenteditable]')) return
  const isButton = event.target.closest('button, a, summary')
  const step = event.shiftKey ? BACK_S : STEP_S
  const actions = {
    ' ': isButton ? null : player.toggle,
    ArrowLeft: () => player.step(-step),
    ArrowRight: () => player.step(step),
  }
  const action = actions[event.key]
  if (!action) return
  event.preventDefault()
  action()
}
