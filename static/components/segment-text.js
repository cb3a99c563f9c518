/** The text of one segment, as it is read: selectable, its words as elements, and what is searched for marked. */
import { useComputed } from '@preact/signals'
import { html } from 'htm/preact'
import { isDoubtfulWord } from '../state/doubts.js'
import { formatPercent } from '../text/format.js'
import { hitRanges, runsOf, wordRanges } from '../util/text-runs.js'

/**
 * isNear: whether words and hits are worth elements of their own. pattern: what is searched for, of findIn, or null.
 * place: the signal of the hit that the person is at.
 */
export function SegmentText({ segment, isNear, pattern, place }) {
  const here = useComputed(() => (place.value?.id === segment.id ? place.value.index : null))
  const text = segment.text.trim()
  return html`<p class="segment-text" dir="auto" data-testid="segment-text">${isNear ? drawn(segment, text, pattern, here.value) : text}</p>`
}

/** here: the hit that the person is at, if it is in this segment. */
function drawn(segment, text, pattern, here) {
  const words = segment.words ? wordRanges(text, segment.words) : []
  return runsOf(text, words, hitRanges(text, pattern)).map(({ word, parts }) => {
    const content = parts.map((part) => (part.hit === null ? part.text : mark(part, part.hit === here)))
    return word === null ? content : wordElement(word, segment.words[word], content)
  })
}

const mark = ({ text, isStart }, isHere) =>
  html`<mark class=${isHere ? 'is-here' : undefined} data-testid=${isStart ? 'hit' : undefined}>${text}</mark>`

function wordElement(index, word, content) {
  const isDoubtful = isDoubtfulWord(word)
  const title = isDoubtful ? formatPercent(word.probability) : undefined
  return html`<span class=${isDoubtful ? 'word is-doubtful' : 'word'} data-word=${index} title=${title}>${content}</span>`
}
