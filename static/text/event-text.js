/** The system's events as sentences: what the scheduler decided, what was tuned, which models left memory. */
import { formatBytes, formatNumber, formatSpan, formatWait } from './format.js'
import { joined, lookUp, t, withReason } from './i18n.js'
import { isEnglish } from './language.js'
import { errorText } from './messages.js'

/**
 * What follows the task's name: "started on cuda:0 with base after 2 min: its model was loaded". Null for a decision
 * that lacks the figures; its own text then says it. nameOf: task id -> file name.
 */
export function decisionText(data, nameOf) {
  if (data.for_task && data.device) {
    return t('decision.steps_aside', { device: data.device, name: nameOf(data.for_task) })
  }
  return data.device && data.model ? startText(data) : null
}

function startText(data) {
  const { device, model, waited_seconds: waited, why, passed = 0, evict = [] } = data
  const start =
    waited == null
      ? t('decision.started', { device, model })
      : t('decision.started_after', { device, model, span: formatWait(waited) })
  const reasons = [
    lookUp(`why.${why}`),
    passed > 0 && t('decision.passed', { count: passed }),
    data.load_model && t('decision.loads', { model }),
    evict.length > 0 && t('decision.evicts', { models: evict.join(', ') }),
  ]
  return withReason(start, joined(reasons, 'punctuation.semicolon'))
}

/** An event that is about no task. In English it is the server's own sentence. */
export function eventText({ kind, text, data }) {
  if (kind === 'audit') {
    const figures = { count: data.days, ...data, by: data.by || t('audit.somebody') }
    return lookUp(`audit.${data.action}`, figures) ?? text
  }
  if (isEnglish()) return text
  if (kind === 'memory') {
    const { model, device, needed_bytes: needed } = data ?? {}
    return lookUp(`memory_event.${data?.step}`, { model, device, size: formatBytes(needed) }) ?? text
  }
  if (data?.why === 'policy_failed') return t('decision.policy_failed', { policy: data.policy })
  if (data?.why === 'files_replaced') return t('decision.files_replaced', { model: data.model, device: data.device })
  const change = data?.state && stateText(kind, data)
  if (change) return change
  const isIdleModel = kind === 'model' && data?.idle_seconds != null
  if (!isIdleModel) return text
  return t('decision.idle_model', { model: data.model, device: data.device, span: formatSpan(data.idle_seconds) })
}

/** What became of a device, or of a model on it. */
function stateText(kind, { state, device, model, slots, seconds, bytes, code }) {
  const values = { device, model, count: slots, span: formatWait(seconds), size: formatBytes(bytes) }
  if (kind === 'device') return lookUp(`device_event.${state}`, values)
  return lookUp(`model_event.${state}`, { ...values, reason: errorText({ code }) })
}

/**
 * A change of a limit: {text, data: {setting, step, before, after, throughput_before?, throughput_after?}}. In English it
 * is the server's own sentence, which says more than the figures do.
 */
export function tuningText({ text, data }) {
  if (isEnglish() || data?.before == null) return text
  const name = lookUp(`limits.${data.setting}`)
  return (name && lookUp(`tuning.${data.step}`, { name, before: data.before, after: data.after })) ?? text
}

/**
 * {values: "8 → 10", effect} of a change, or null where it has no figures. effect: the relative change in throughput
 * (0.09 is 9 % more), or null where it was not measured.
 */
export function tuningFigures({ data }) {
  if (data?.before == null || data.after == null) return null
  const { before, after, throughput_before: slow, throughput_after: fast } = data
  const isMeasured = slow > 0 && fast != null
  return {
    values: t('tuning.values', { before: formatNumber(before), after: formatNumber(after) }),
    effect: isMeasured ? fast / slow - 1 : null,
  }
}
