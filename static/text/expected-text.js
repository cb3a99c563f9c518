/** When a waiting task will start and be done. It counts down between two reports about the task. */
import { secondsLeft } from '../util/countdown.js'
import { formatSpan, formatSpanRange } from './format.js'
import { t } from './i18n.js'

/** task: with `expected` and `receivedAt` (milliseconds). Returns {end, start}, or null when no end is forecast. */
export function expectedText({ expected, receivedAt }, now) {
  if (!expected || expected.end_seconds == null) return null
  const left = (seconds) => secondsLeft(seconds, receivedAt, now)
  const { start_seconds: start, end_seconds: end } = expected
  const { earliest_end_seconds: earliest, latest_end_seconds: latest } = expected
  const span = formatSpan(left(end))
  const hasRange = earliest != null && latest != null
  return {
    end: hasRange
      ? t('expected.end_range', { span, range: formatSpanRange(left(earliest), left(latest)) })
      : t('expected.end', { span }),
    start: start == null ? null : t('expected.start', { span: formatSpan(left(start)) }),
  }
}
