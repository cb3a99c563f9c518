/** The steps of a task's timeline as sentences. */
import { formatBytes, formatNumber, formatPercent, formatSpan, formatWait } from './format.js'
import { joined, lookUp, t, withReason } from './i18n.js'
import { isEnglish } from './language.js'
import { errorText } from './messages.js'

const SENTENCES = {
  uploaded: ({ size_bytes: size }) =>
    size == null ? t('timeline.uploaded') : t('timeline.uploaded_size', { size: formatBytes(size) }),
  decoded: ({ audio_seconds: seconds, truncated }) =>
    t(truncated ? 'timeline.decoded_in_part' : 'timeline.decoded', { span: formatSpan(seconds) }),
  started,
  gave_way: ({ progress }) =>
    progress == null ? t('timeline.gave_way') : t('timeline.gave_way_at', { percent: formatPercent(progress) }),
  memory: ({ step }) => lookUp(`timeline.memory_${step}`),
  interrupted,
  retrying: ({ code, message, delay_seconds: delay }) =>
    t('timeline.retrying', { reason: errorText({ code, message }), span: formatSpan(delay) }),
  prioritised: ({ priority }) => t('timeline.prioritised', { priority: t(`priority.${priority}`) }),
  moved: () => t('timeline.moved'),
  completed,
  failed: ({ code, message }) => t('timeline.failed', { reason: errorText({ code, message }) }),
  cancelled: () => t('timeline.cancelled'),
  media_removed: () => t('timeline.media_removed'),
  speakers: ({ code, message }) => errorText({ code, message }),
  restarted: () => t('timeline.restarted'),
}

/** An event {code, text, data} as a sentence; the server's own for a code that the page does not know. */
export const timelineText = ({ code, text, data }) => SENTENCES[code]?.(data ?? {}) ?? text

function started({ device, model, attempt = 1, waited_seconds: waited, reason, progress }) {
  const parts = [
    t('timeline.started', { device, model }),
    attempt > 1 && t('timeline.attempt', { attempt }),
    progress > 0 && t('timeline.from', { percent: formatPercent(progress) }),
    waited != null && t('timeline.waited', { span: formatWait(waited) }),
  ]
  // A reason that is not a known code is an English sentence of the server.
  const why = reason && (lookUp(`why.${reason}`) ?? (isEnglish() ? reason : null))
  return withReason(joined(parts, 'punctuation.comma'), why)
}

function completed({ seconds, speed }) {
  if (seconds == null) return t('timeline.completed')
  const parts = [
    t('timeline.completed_after', { span: formatSpan(seconds) }),
    speed && t('task.speed', { speed: formatNumber(speed, 1) }),
  ]
  return parts.filter(Boolean).join(' · ')
}

/** The event carries only the error's code. In English the server's sentence, which has the full message, is better. */
function interrupted({ code }) {
  if (code === 'given_back') return t('timeline.given_back')
  return isEnglish() ? undefined : t('timeline.interrupted', { reason: errorText({ code }) })
}

const TONES = {
  completed: 'good',
  failed: 'bad',
  interrupted: 'warn',
  retrying: 'warn',
  memory: 'warn',
  speakers: 'warn',
  started: 'accent',
}

/** One row per event: [{at, code, text, tone, gapSeconds}]. gapSeconds: since the event before, null for the first. */
export function timelineRows(events) {
  return events.map((event, index) => ({
    at: event.at,
    code: event.code,
    text: timelineText(event),
    tone: TONES[event.code] ?? 'plain',
    gapSeconds: index === 0 ? null : Math.max(0, (Date.parse(event.at) - Date.parse(events[index - 1].at)) / 1000),
  }))
}
