/**
 * Marks the segment and the word at the player's position and keeps them in view. It works on the elements themselves,
 * because drawing ten thousand rows again at every frame would be too slow.
 */
import { effect } from '@preact/signals'
import { segmentAt, wordAt } from '../state/transcripts.js'
import { listen } from '../util/listen.js'
import { scrollBehavior } from '../util/preferences.js'

/** For this long after the person scrolls, the list does not scroll by itself. */
const HANDS_OFF_MS = 4000
/** What is read should have some lines above and below it. */
const MARGIN_PX = 40

/** list: the element with the rows. Returns how to stop. */
export function followPlayer(list, player, segments) {
  if (!list) return undefined
  const marked = { segment: null, row: null, word: null }
  let lastTouch = Number.NEGATIVE_INFINITY
  const stopEffect = effect(() => {
    const seconds = player.position.value
    const isPlaying = player.isPlaying.value
    const segment = isPlaying || seconds > 0 ? segmentAt(segments, seconds) : null
    if (segment !== marked.segment) {
      markRow(list, marked, segment)
      const isFree = !list.querySelector('textarea') // Nothing scrolls away from what is edited.
      if (isPlaying && isFree && performance.now() - lastTouch > HANDS_OFF_MS) keepInView(marked.row)
    }
    markWord(marked, seconds)
  })
  const onTouch = () => (lastTouch = performance.now())
  const stopListening = listen(list, { wheel: onTouch, touchmove: onTouch }, { passive: true })
  return () => {
    stopEffect()
    stopListening()
    markRow(list, marked, null)
    markWord(marked, 0)
  }
}

function markRow(list, marked, segment) {
  marked.row?.removeAttribute('aria-current')
  marked.segment = segment
  marked.row = segment && rowOf(list, segment.id)
  marked.row?.setAttribute('aria-current', 'true')
}

/** A row far out of view has no elements for its words, so they are looked for until they are there. */
function markWord(marked, seconds) {
  const index = marked.row ? wordAt(marked.segment.words, seconds) : -1
  if (marked.word?.isConnected && marked.word.dataset.word === String(index)) return
  marked.word?.classList.remove('is-spoken')
  marked.word = index < 0 ? null : marked.row.querySelector(`[data-word="${index}"]`)
  marked.word?.classList.add('is-spoken')
}

export const rowOf = (list, id) => list.querySelector(`[data-segment="${id}"]`)

/** tries: how often to correct the way to a row that is far away, whose rows in between have a guessed height. */
export function keepInView(row, tries = 5) {
  const scroller = row && scrollerOf(row)
  if (!scroller) return
  const [outer, inner] = [scroller.getBoundingClientRect(), row.getBoundingClientRect()]
  const top = outer.top + coveredHeight(scroller)
  if (inner.top >= top + MARGIN_PX && inner.bottom <= outer.bottom - MARGIN_PX) return
  const way = inner.top - top - (outer.bottom - top) / 3
  const isFar = Math.abs(way) > 2 * outer.height
  scroller.scrollBy({ top: way, behavior: isFar ? 'instant' : scrollBehavior() })
  if (isFar && tries > 0) requestAnimationFrame(() => keepInView(row, tries - 1))
}

/** Which element scrolls depends on the height of the window. */
function scrollerOf(element) {
  let scroller = element.parentElement
  while (scroller && !/auto|scroll/.test(getComputedStyle(scroller).overflowY)) scroller = scroller.parentElement
  return scroller
}

/** The height of the player, which stays above the text. */
function coveredHeight(scroller) {
  for (const element of scroller.querySelectorAll('.reading-bar, .player, .controls')) {
    if (getComputedStyle(element).position === 'sticky') return element.getBoundingClientRect().height
  }
  return 0
}
