/** What a task is, and how long it still takes: lines that the queue and the open task share. */
import { html } from 'htm/preact'
import { models } from '../state/store.js'
import { isCompleted, isRunning } from '../state/task.js'
import { formatBytes, formatClock, formatMoment, formatRounded, formatSpan, languageName } from '../text/format.js'
import { lookUp, t } from '../text/i18n.js'
import { formatAgo } from '../text/messages.js'
import { removalOf } from '../text/retention-text.js'
import { secondsLeft } from '../util/countdown.js'
import { eachHalfMinute, eachSecond } from '../util/ticker.js'
import { FileName } from './file-name.js'
import { TrackFact } from './tracks.js'

/**
 * Model, language, mode, length and size, where it runs or how long it took, and its age. precision: in which the model
 * computed the text, where that is known. hasCoarseTimes: whether its segments are as long as their windows. isNameShown:
 * whether the file's name is one of them.
 */
export function TaskFacts({ task, precision, hasCoarseTimes, isNameShown }) {
  const { options, language } = task
  return html`<p class="task-meta">
    ${isNameShown && html`<span class="file-fact" dir="auto" title=${task.filename}><${FileName} name=${task.filename} /></span>`}
    ${isAccount(task.owner) && html`<span dir="auto" data-testid="task-owner">${t('task.owner', { owner: task.owner })}</span>`}
    <span>${options.model}</span>
    ${precision && html`<span title=${t(`precision.${precision}_hint`)} data-testid="task-precision">${t(`precision.${precision}`)}</span>`}
    ${language && html`<span>${languageName(language, models.value?.languages?.[language])}</span>`}
    ${options.task === 'translate' && html`<span>${t('task.translate_to')}</span>`}
    <span title=${t(`mode.${options.mode}_hint`)} data-testid="task-mode">${t(`mode.${options.mode}`)}</span>
    ${task.audio_seconds != null && html`<span>${formatClock(task.audio_seconds)}</span>`}
    <${TrackFact} tracks=${task.tracks} />
    <span>${formatBytes(task.size_bytes)}</span>
    ${isRunning(task) && task.device && html`<span>${task.device}</span>`}
    ${isCompleted(task) && task.started_at && html`<span>${t('task.took', { span: formatSpan(runSeconds(task)) })}</span>`}
    ${task.warnings?.map((warning) => html`<span class="task-warning" title=${lookUp(`warning.${warning.code}_hint`) ?? warning.message} data-testid="task-warning">${warningText(warning)}</span>`)}
    <${Removal} task=${task} />
    ${hasCoarseTimes && html`<span class="task-warning" title=${t('warning.coarse_times_hint')} data-testid="coarse-times">${t('warning.coarse_times')}</span>`}
    <${Age} iso=${task.created_at} />
  </p>`
}

/** Only an admin is told owners. Those from before there were accounts are browsers and scripts without a name. */
const isAccount = (owner) => Boolean(owner) && !/^[0-9a-f]{16}$/.test(owner)

function warningText({ code, message, readable_seconds: readable, declared_seconds: declared }) {
  const key = declared == null || readable == null ? `warning.${code}` : `warning.${code}_of`
  return lookUp(key, { readable: formatClock(readable), declared: formatClock(declared) }) ?? message
}

const runSeconds = (task) => (Date.parse(task.finished_at) - Date.parse(task.started_at)) / 1000

function Removal({ task }) {
  const removal = removalOf(task, eachHalfMinute.value)
  return (
    removal && html`<span class=${removal.isSoon ? 'task-warning' : ''} data-testid="removal">${removal.text}</span>`
  )
}

function Age({ iso }) {
  // Right after an upload the page's clock may be behind the server's.
  const now = Math.max(eachHalfMinute.value, Date.parse(iso))
  return html`<time dateTime=${iso} title=${t('task.uploaded', { moment: formatMoment(iso) })}>${formatAgo(iso, now)}</time>`
}

/** The time left, which counts down between two reports, the speed, and the attempt unless it is the first. */
export function TimeLeft({ task }) {
  const { eta_seconds: eta, speed, attempts } = task
  const parts = [
    eta != null && t('task.left', { span: formatSpan(secondsLeft(eta, task.receivedAt, eachSecond.value)) }),
    speed && t('task.speed', { speed: formatRounded(speed) }),
    attempts > 1 && t('task.attempt', { attempt: attempts, max: task.max_attempts }),
  ]
  return html`<span class="time-left" data-testid="eta">${parts.filter(Boolean).map((part) => html`<span>${part}</span>`)}</span>`
}
