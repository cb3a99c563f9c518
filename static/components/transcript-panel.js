/** An open task: player, text with times, search, copy and every format. Beside the queue where there is room. */
import { html } from 'htm/preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { STEP_S, usePlayer } from '../hooks/use-player.js'
import * as selection from '../state/selection.js'
import { isFinished, isRunning, isWaiting, loadTask, system, taskOf } from '../state/store.js'
import { toast } from '../state/toasts.js'
import { loadTranscript, transcriptOf } from '../state/transcripts.js'
import { waitReasonNow } from '../state/wait-reason.js'
import { expectedText } from '../text/expected-text.js'
import { errorText, formatBytes, formatPercent, t, waitReasonText } from '../text/i18n.js'
import { closeTask } from '../util/address.js'
import { eachSecond } from '../util/ticker.js'
import { Chip } from './chip.js'
import { DownloadMenu } from './download.js'
import { Icon } from './icons.js'
import { Player } from './player.js'
import { Segments } from './segments.js'
import { Meta, TimeLeft } from './task-row.js'
import { Timeline } from './timeline.js'

/** isModal: the panel covers the page (on a phone). */
export function TranscriptPanel({ id, isModal }) {
  const task = taskOf(id)?.value
  const [error, setError] = useState(null)
  const panel = useRef(null)
  useEffect(() => {
    if (!task) loadTask(id).catch((fault) => (fault.name === 'ApiError' ? setError(fault) : Promise.reject(fault)))
  }, [id])
  // At once: the page below turns inert, and the browser then forgets where the focus was.
  useLayoutEffect(() => holdFocus(panel.current), [id])
  return html`<aside class="panel" ref=${panel} role=${isModal ? 'dialog' : 'region'} aria-modal=${isModal ? 'true' : undefined} aria-label=${t('transcript.title')} data-testid="transcript" data-task-id=${id} tabindex="-1" onKeyDown=${closeOnEscape}>
    ${task ? html`<${Content} key=${id} task=${task} />` : html`<${Missing} error=${error} />`}
  </aside>`
}

/** The focus comes here when the panel opens, and goes back to where it was when it closes. */
function holdFocus(panel) {
  const before = document.activeElement
  // Its content, where there is one, hears the player's keys.
  const inner = panel.querySelector('.panel-content') ?? panel
  inner.focus({ preventScroll: true })
  // The queue grew narrower, so the task that was clicked may have moved out of sight.
  before?.closest('.task')?.scrollIntoView({ block: 'nearest' })
  return () =>
    requestAnimationFrame(() => {
      if (before?.isConnected && document.activeElement === document.body) before.focus({ preventScroll: true })
    })
}

function Missing({ error }) {
  return html`<header class="panel-head"><span class="spring"></span><${Close} /></header>
    <div class="blank" data-testid="transcript-missing">${error ? html`<p class="blank-title">${errorText(error)}</p>` : html`<p aria-busy="true">${t('queue.loading')}</p>`}</div>`
}

const Close = () =>
  html`<button type="button" class="round" aria-label=${t('transcript.close')} title=${t('transcript.close')} data-testid="close-transcript" onClick=${closeTask}><${Icon} name="close" /></button>`

function Content({ task }) {
  const content = transcriptOf(task.id).value
  const player = usePlayer(task.id)
  const [words, setWords] = useState('')
  useEffect(() => {
    loadTranscript(task.id)
  }, [task.id, task.status === 'completed', task.status])
  return html`<div class="panel-content" tabindex="-1" onKeyDown=${(event) => onPanelKey(event, player)}>
    <header class="panel-head">
      <div class="panel-title"><h2 dir="auto" title=${task.filename}>${task.filename}</h2><${Chip} status=${task.status} /></div>
      <${Close} />
    </header>
    <${Meta} task=${task} />
    <${Memory} memory=${task.memory} />
    <${Timeline} task=${task} />
    <${Player} task=${task} player=${player} />
    <${Tools} task=${task} content=${content} words=${words} setWords=${setWords} />
    <${Progress} task=${task} />
    <${Segments} task=${task} content=${content} player=${player} words=${words} />
  </div>`
}

/** What was promised to the task's latest attempt, and what it turned out to need. */
function Memory({ memory }) {
  if (!memory?.estimated_bytes) return null
  const estimated = formatBytes(memory.estimated_bytes)
  const words = memory.peak_bytes
    ? t('task.memory_used', { estimated, peak: formatBytes(memory.peak_bytes) })
    : t('task.memory', { estimated })
  return html`<p class="task-meta" data-testid="memory"><span>${words}</span></p>`
}

function Progress({ task }) {
  if (isRunning(task)) {
    return html`<div class="bar-row" role="status"><progress value=${task.progress} max="1" aria-label=${t('task.progress', { name: task.filename })}></progress>
      <span class="figures">${formatPercent(task.progress)}</span><${TimeLeft} task=${task} /></div>`
  }
  if (isWaiting(task)) return html`<${WaitingHint} task=${task} />`
  if (task.status === 'failed' && task.error)
    return html`<p class="problem"><${Icon} name="alert" />${errorText(task.error)}</p>`
  return null
}

function WaitingHint({ task }) {
  const reason =
    waitReasonText(waitReasonNow(task, system.value?.fetches, eachSecond.value), task.waiting_reason) ||
    t('transcript.waiting')
  const expected = expectedText(task, eachSecond.value)
  return html`<p class="hint"><span>${reason}</span>${expected && html`<span>${expected.start}</span><span>${expected.end}</span>`}</p>`
}

function Tools({ task, content, words, setWords }) {
  const hasText = content.segments.length > 0
  return html`<div class="tools">
    <label class="search"><${Icon} name="search" />
      <input type="search" value=${words} placeholder=${t('transcript.search')} aria-label=${t('transcript.search')} data-testid="transcript-search" onInput=${(event) => setWords(event.target.value)} />
    </label>
    <button type="button" class="quiet" disabled=${!hasText} data-testid="copy" onClick=${() => copy(content)}><${Icon} name="copy" /><span>${t('transcript.copy')}</span></button>
    ${task.status === 'completed' && html`<${DownloadMenu} task=${task} text=${t('task.download')} label=${t('task.download_of', { name: task.filename })} kind="primary" />`}
    ${!isFinished(task) && html`<button type="button" class="quiet" onClick=${() => selection.cancel([task.id])}><${Icon} name="stop" /><span>${t('task.cancel')}</span></button>`}
  </div>`
}

async function copy(content) {
  const text = content.segments.map((segment) => segment.text.trim()).join('\n')
  try {
    await writeClipboard(text)
    toast(t('transcript.copied'))
  } catch {
    toast(t('transcript.copy_failed'), { tone: 'error' })
  }
}

/** navigator.clipboard exists only on https and localhost; elsewhere the old way still works. */
async function writeClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const area = document.createElement('textarea')
  area.value = text
  document.body.append(area)
  area.select()
  const isDone = document.execCommand('copy')
  area.remove()
  if (!isDone) throw new Error('copying is not allowed')
  return undefined
}

/** Wherever in the panel the focus is; a menu that closes first keeps the key to itself. */
function closeOnEscape(event) {
  if (event.key === 'Escape' && !event.defaultPrevented) closeTask()
}

/** Space plays, left and right step; fields keep their own keys. */
function onPanelKey(event, player) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.target.closest('input, select, textarea')) return
  const isButton = event.target.closest('button, a, summary') && !event.target.closest('.segment')
  const action = {
    ' ': isButton ? null : player.toggle,
    ArrowLeft: () => player.step(-STEP_S),
    ArrowRight: () => player.step(STEP_S),
  }[event.key]
  if (!action) return
  event.preventDefault()
  action()
}
