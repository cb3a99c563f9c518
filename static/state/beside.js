/** The text of another task of the same recording, beside the segments of this one. */
import { preference } from '../util/preferences.js'

/** Whether a translation is shown beside its original. */
export const showsBeside = preference('beside', false)

/** Segment id -> the texts of those `others` that are said mostly during it. Both are in the order of their times. */
export function alignedTo(segments, others) {
  const texts = new Map()
  let at = 0
  for (const other of others) {
    while (at + 1 < segments.length && overlap(segments[at + 1], other) > overlap(segments[at], other)) at += 1
    while (at + 1 < segments.length && segments[at].end <= other.start && segments[at + 1].start <= other.start) at += 1
    const { id } = segments[at] ?? {}
    if (id !== undefined) texts.set(id, [texts.get(id), other.text.trim()].filter(Boolean).join(' '))
  }
  return texts
}

const overlap = (one, other) => Math.min(one.end, other.end) - Math.max(one.start, other.start)
