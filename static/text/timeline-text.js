/** A task's own timeline in the reader's language. */
import { errorText, formatBytes, formatNumber, formatPercent, formatSpan, language, lookUp, t } from './i18n.js'

const PHRASES = {
  uploaded: ({ size_bytes: size }) =>
    size == null ? t('timeline.uploaded') : t('timeline.uploaded_size', { size: formatBytes(size) }),
  decoded: ({ audio_seconds: seconds }) => t('timeline.decoded', { span: formatSpan(seconds) }),
  started,
  gave_way: ({ progress }) =>
    progress == null ? t('timeline.gave_way') : t('timeline.gave_way_at', { percent: formatPercent(progress) }),
  memory: ({ step }) => lookUp(`timeline.memory_${step}`),
  interrupted,
  retrying: ({ code, message, delay_seconds: delay }) =>
    t('timeline.retrying', { reason: errorText({ code, message }), span: formatSpan(delay) }),
  prioritised: ({ priority }) => t('timeline.prioritised', { priority: t(`priority.${priority}`) }),
  completed: ({ seconds, speed }) =>
    seconds == null
      ? t('timeline.completed')
      : [
          t('timeline.completed_after', { span: formatSpan(seconds) }),
          speed && t('task.speed', { speed: formatNumber(speed, 1) }),
        ]
          .filter(Boolean)
          .join(' · '),
  failed: ({ code, message }) => t('timeline.failed', { reason: errorText({ code, message }) }),
  cancelled: () => t('timeline.cancelled'),
  restarted: () => t('timeline.restarted'),
}

/** The sentence of an event {code, text, data}; the server's own where the code is not known here. */
export const timelineText = ({ code, text, data }) => PHRASES[code]?.(data ?? {}) ?? text

function started({ device, model, attempt = 1, waited_seconds: waited, reason, progress }) {
  const parts = [
    t('timeline.started', { device, model }),
    attempt > 1 && t('timeline.attempt', { attempt }),
    progress > 0 && t('timeline.from', { percent: formatPercent(progress) }),
    waited != null && t('timeline.waited', { span: formatSpan(waited) }),
  ]
  // A reason that is a sentence of the server's is English.
  const why = reason && (lookUp(`why.${reason}`) ?? (language.value === 'en' ? reason : null))
  const begun = parts.filter(Boolean).join(t('timeline.comma'))
  return why ? begun + t('decision.colon') + why : begun
}

/** The figures hold no message; English words of an error are the server's, and so then is the whole sentence. */
function interrupted({ code }) {
  if (code === 'given_back') return t('timeline.given_back')
  return language.value === 'en' ? undefined : t('timeline.interrupted', { reason: errorText({ code }) })
}

const TONES = {
  completed: 'good',
  failed: 'bad',
  interrupted: 'warn',
  retrying: 'warn',
  memory: 'warn',
  started: 'accent',
}

/**
 * The events with what is drawn beside them: [{at, code, words, tone, gapSeconds}], gapSeconds since the event before
 * (null for the first).
 */
export function timelineRows(events) {
  return events.map((event, index) => ({
    at: event.at,
    code: event.code,
    words: timelineText(event),
    tone: TONES[event.code] ?? 'plain',
    gapSeconds: index === 0 ? null : Math.max(0, (Date.parse(event.at) - Date.parse(events[index - 1].at)) / 1000),
  }))
}
