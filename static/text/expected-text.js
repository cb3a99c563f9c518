/** When a waiting task will be done, as words: it runs down between two messages about the task. */
import { formatSpan, formatSpanRange, t } from './i18n.js'

/** task: with `expected` and `receivedAt` (milliseconds). Returns {end, start}, or null when nothing is known. */
export function expectedText({ expected, receivedAt }, now) {
  if (!expected || expected.end_seconds == null) return null
  const passed = Math.max(0, (now - receivedAt) / 1000)
  const left = (seconds) => Math.max(1, seconds - passed)
  const {
    start_seconds: start,
    end_seconds: end,
    earliest_end_seconds: earliest,
    latest_end_seconds: latest,
  } = expected
  const span = formatSpan(left(end))
  const hasRange = earliest != null && latest != null
  return {
    end: hasRange
      ? t('expected.end_range', { span, range: formatSpanRange(left(earliest), left(latest)) })
      : t('expected.end', { span }),
    start: start == null ? null : t('expected.start', { span: formatSpan(left(start)) }),
  }
}
