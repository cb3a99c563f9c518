/** The text of one segment, as it is read: selectable, its words as elements, and what is searched for marked. */
import { html } from 'htm/preact'
import { isDoubtfulWord } from '../state/doubts.js'
import { formatPercent } from '../text/format.js'
import { hitRanges, runsOf, wordRanges } from '../util/text-runs.js'

/**
 * isNear: whether the words are worth elements of their own. pattern: what is searched for, of findIn, or null. place:
 * the signal of the hit that the person is at.
 */
export function SegmentText({ segment, isNear, pattern, place }) {
  const text = segment.text.trim()
  const words = isNear && segment.words ? wordRanges(text, segment.words) : []
  const hits = hitRanges(text, pattern)
  return html`<p class="segment-text" dir="auto" data-testid="segment-text">
    ${runsOf(text, words, hits).map((run) => html`<${Run} ...${run} segment=${segment} place=${place} />`)}
  </p>`
}

function Run({ word, parts, segment, place }) {
  const content = parts.map((part) =>
    part.hit === null ? part.text : html`<${Hit} part=${part} id=${segment.id} place=${place} />`,
  )
  if (word === null) return content
  const said = segment.words[word]
  return isDoubtfulWord(said)
    ? html`<span class="word is-doubtful" data-word=${word} title=${formatPercent(said.probability)}>${content}</span>`
    : html`<span class="word" data-word=${word}>${content}</span>`
}

function Hit({ part, id, place }) {
  const isHere = place.value?.id === id && place.value.index === part.hit
  return html`<mark class=${isHere ? 'is-here' : undefined} data-testid=${part.isStart ? 'hit' : undefined}>${part.text}</mark>`
}
