/** What is searched for in one text: a phrase as it was typed, or else its words wherever they stand. */
import { hitRanges } from '../util/text-runs.js'

const NOTHING = { pattern: null, places: [], segmentCount: 0 }

/**
 * {pattern, places, segmentCount}: a regular expression for hitRanges, or null when nothing is searched for; each hit as
 * {id, index}, the segment and which of its hits; and in how many segments there are any.
 */
export function findIn(segments, query) {
  const typed = query.trim()
  if (!typed) return NOTHING
  const phrase = allOf(segments, patternOf([typed]))
  const terms = termsOf(typed)
  return phrase.places.length > 0 || terms.length === 0 ? phrase : allOf(segments, patternOf(terms))
}

/** The words of a search; what stands in quotes stays together. */
export function termsOf(query) {
  const terms = Array.from(query.matchAll(/"([^"]*)"|[^\s"]+/g), ([whole, quoted]) => (quoted ?? whole).trim())
  return terms.filter(Boolean)
}

/** Any of the terms, the longest where several begin at one place, whatever their case and their white space. */
function patternOf(terms) {
  const sources = [...terms].sort((a, b) => b.length - a.length).map((term) => escaped(term).replace(/\s+/g, '\\s+'))
  return new RegExp(sources.join('|'), 'giu')
}

const escaped = (term) => term.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')

function allOf(segments, pattern) {
  const places = []
  let segmentCount = 0
  for (const { id, text } of segments) {
    const { length } = hitRanges(text.trim(), pattern)
    if (length > 0) segmentCount += 1
    for (let index = 0; index < length; index += 1) places.push({ id, index })
  }
  return { pattern, places, segmentCount }
}
