/** What the scheduler decided, as sentences in the reader's language. */
import { formatSpan, language, lookUp, t } from './i18n.js'

/**
 * What follows a task's name: "started on cuda:0 with base after 2 min: its model was loaded". Null for a decision whose
 * figures are not known, which the server's own sentence tells. nameOf: a task's id -> its file name.
 */
export function decisionText(data, nameOf) {
  if (data.for_task && data.device)
    return t('decision.steps_aside', { device: data.device, name: nameOf(data.for_task) })
  return data.device && data.model ? startWords(data) : null
}

function startWords({
  device,
  model,
  waited_seconds: waited,
  why,
  passed = 0,
  load_model: isLoad,
  evict = [],
  gave_way: gaveWay = [],
}) {
  const begun =
    waited == null
      ? t('decision.started', { device, model })
      : t('decision.started_after', { device, model, span: formatSpan(waited) })
  const reasons = [
    lookUp(`why.${why}`),
    passed > 0 && t('decision.passed', { count: passed }),
    isLoad && t('decision.loads', { model }),
    evict.length > 0 && t('decision.evicts', { models: evict.join(', ') }),
    gaveWay.length > 0 && t('decision.gave_way', { count: gaveWay.length }),
  ]
  const told = reasons.filter(Boolean).join(t('decision.comma'))
  return told ? begun + t('decision.colon') + told : begun
}

/** An event that is not about a task; in English the server's own sentence. */
export function eventText({ kind, text, data }) {
  const isIdleModel = kind === 'model' && data?.idle_seconds != null
  if (language.value === 'en' || !isIdleModel) return text
  return t('decision.idle_model', { model: data.model, device: data.device, span: formatSpan(data.idle_seconds) })
}

/**
 * The newest page in front of what is known, newest first, nothing twice. Where so much happened meanwhile that the two
 * do not meet, only the page is kept: a list with a hole would lie.
 */
export function merged(known, page) {
  const oldest = page.at(-1)?.id
  const doMeet = known.some((event) => event.id >= oldest)
  if (!doMeet) return page
  return [...page, ...known.filter((event) => event.id < oldest)]
}
