/** A text cut at the borders of its words and of what was searched for, so that each part can be drawn as it is. */

/** How far a word may stand from the end of the one before; an edited text may have more there than its words. */
const LARGEST_GAP = 24

/** [from, to] in the text of each of the words {word}, or null for one that is not there. */
export function wordRanges(text, words) {
  let end = 0
  return words.map(({ word }) => {
    const bare = word.trim()
    const from = bare ? text.indexOf(bare, end) : -1
    if (from < 0 || from - end > LARGEST_GAP) return null
    end = from + bare.length
    return [from, end]
  })
}

/** [from, to] of everything in the text that the global regular expression `pattern` finds. */
export function hitRanges(text, pattern) {
  if (!pattern) return []
  return Array.from(text.matchAll(pattern), (match) => [match.index, match.index + match[0].length])
}

/**
 * [{word, parts}] in the order of the text: word is the index of the word or null for what stands between words, and
 * parts are [{text, hit, isStart}], hit the index of the hit or null. A hit over several words has a part in each, the
 * first of which is its start.
 */
export function runsOf(text, words, hits) {
  const runs = []
  let end = 0
  const add = (word, from, to) => from < to && runs.push({ word, parts: partsOf(text, from, to, hits) })
  words.forEach((range, index) => {
    if (!range) return
    add(null, end, range[0])
    add(index, ...range)
    end = range[1]
  })
  add(null, end, text.length)
  return runs
}

function partsOf(text, from, to, hits) {
  const parts = []
  let end = from
  hits.forEach(([first, last], hit) => {
    if (last <= end || first >= to) return
    if (first > end) parts.push({ text: text.slice(end, first), hit: null, isStart: false })
    const start = Math.max(first, end)
    end = Math.min(last, to)
    parts.push({ text: text.slice(start, end), hit, isStart: start === first })
  })
  if (end < to) parts.push({ text: text.slice(end, to), hit: null, isStart: false })
  return parts
}
