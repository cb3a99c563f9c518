/** What the system changed by itself, in the reader's language, and what came of it. */
import { formatNumber, language, lookUp, t } from './i18n.js'

/**
 * event: {text, data: {setting, step, before, after, throughput_before?, throughput_after?}}. In English the server's own
 * sentence, which says more; elsewhere what its figures say.
 */
export function tuningText({ text, data }) {
  if (language.value === 'en' || data?.before == null) return text
  const name = lookUp(`limits.${data.setting}`)
  return (name && lookUp(`tuning.${data.step}`, { name, before: data.before, after: data.after })) ?? text
}

/**
 * {values: "8 → 10", effect: 0.09 or null} of a tuning event. effect: by how much more got done with what was tried, of
 * a change that was measured.
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
