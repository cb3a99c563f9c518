/**
 * The text with its times. Each segment has a button that plays from it; its text is plain text, which can be selected
 * and copied. The segment and the word being played are marked.
 */
import { useSignal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { followPlayer, keepInView, rowOf } from '../hooks/follow-player.js'
import { useNearness } from '../hooks/use-nearness.js'
import { doubtOf, showsDoubts } from '../state/doubts.js'
import { isRunning } from '../state/task.js'
import { formatClock } from '../text/format.js'
import { t } from '../text/i18n.js'
import { NoText } from './no-text.js'
import { SegmentText } from './segment-text.js'

/** search: of useTextSearch. besideTexts: segment id -> what stands beside it in another language, or null. */
export function Segments({ task, content, player, search, besideTexts }) {
  const list = useRef(null)
  const watch = useNearness()
  const { found, place, isFilter } = search
  const { segments } = content
  const shown = useMemo(() => shownOf(segments, found, isFilter), [segments, found, isFilter])
  const rows = useMemo(
    () =>
      shown.map((segment) => {
        const beside = besideTexts?.get(segment.id)
        return html`<${Segment} key=${segment.id} ...${{ segment, watch, place, beside }} pattern=${found.pattern} />`
      }),
    [shown, found.pattern, besideTexts],
  )
  useEffect(() => followPlayer(list.current, player, segments), [shown])
  useEffect(() => haveTabStop(list.current), [shown])
  const hit = place.value
  useEffect(() => {
    if (hit) keepInView(rowOf(list.current, hit.id))
  }, [hit])
  if (segments.length === 0) return html`<${NoText} task=${task} content=${content} />`
  const classes = `segments ${showsDoubts.value ? 'shows-doubts' : ''} ${besideTexts ? 'has-beside' : ''}`
  return html`<ol class=${classes} ref=${list} aria-label=${t('transcript.segments')} data-testid="segments"
    onClick=${(event) => onClick(event, segments, player)} onFocusIn=${(event) => moveTabStop(event, list.current)}
    onKeyDown=${(event) => onKey(event, segments, player)} onKeyUp=${onKeyUp}>
    ${rows}
    ${isRunning(task) && html`<li class="more-comes">${t('transcript.partial')}</li>`}
  </ol>`
}

function shownOf(segments, found, isFilter) {
  if (!isFilter || found.pattern === null) return segments
  const ids = new Set(found.places.map(({ id }) => id))
  return segments.filter(({ id }) => ids.has(id))
}

function Segment({ segment, watch, pattern, place, beside }) {
  const row = useRef(null)
  const isNear = useSignal(false)
  useEffect(() => watch(row.current, isNear), [])
  const { id, start } = segment
  const time = formatClock(start)
  const doubt = doubtOf(segment)
  return html`<li class="segment" ref=${row} data-testid="segment" data-start=${start} data-segment=${id}>
    <button type="button" class="segment-play" tabindex="-1" aria-label=${t('transcript.segment', { time })} data-testid="segment-play">
      <time>${time}</time>
    </button>
    <${SegmentText} segment=${segment} isNear=${isNear.value} pattern=${pattern} place=${place} />
    ${doubt && html`<small class="doubt" data-testid="doubt">${t(`doubt.${doubt}`)}</small>`}
    ${beside && html`<p class="segment-beside" dir="auto" data-testid="beside">${beside}</p>`}
  </li>`
}

/** The segment that an element of its row belongs to, or undefined. */
function segmentOf(element, segments) {
  const id = element.closest('.segment')?.dataset.segment
  return id === undefined ? undefined : segments.find((segment) => String(segment.id) === id)
}

/** The button plays from its segment; a click in the text only moves there, since it may begin a selection. */
function onClick(event, segments, player) {
  const segment = segmentOf(event.target, segments)
  if (!segment) return
  if (event.target.closest('.segment-play')) player.seek(segment.start, { andPlay: true })
  else if (event.detail === 1 && event.target.closest('.segment-text') && getSelection().isCollapsed) {
    const word = segment.words?.[event.target.closest('.word')?.dataset.word]
    player.seek((word ?? segment).start)
  }
}

// --- keys: one button is in the order of the tab key, and arrows move from it to the others ----------------------------

const playButtons = (list) => [...list.querySelectorAll('.segment-play')]

function haveTabStop(list) {
  if (list && !list.querySelector('.segment-play[tabindex="0"]'))
    list.querySelector('.segment-play')?.setAttribute('tabindex', 0)
}

function moveTabStop({ target }, list) {
  if (!target.matches('.segment-play')) return
  for (const button of list.querySelectorAll('.segment-play[tabindex="0"]')) button.setAttribute('tabindex', -1)
  target.setAttribute('tabindex', 0)
}

function onKey(event, segments, player) {
  const button = event.target.closest('.segment-play')
  if (!button || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.key === ' ') playOrPause(button, segments, player)
  else if (!moveFocus(event.key, button, event.currentTarget)) return
  event.preventDefault()
}

/** Firefox presses a button when the space bar is released. */
function onKeyUp(event) {
  if (event.key === ' ' && event.target.closest('.segment-play')) event.preventDefault()
}

/** The space bar pauses and continues in the segment that is being played, and plays any other one from its start. */
function playOrPause(button, segments, player) {
  if (button.closest('.segment').hasAttribute('aria-current')) player.toggle()
  else player.seek(segmentOf(button, segments).start, { andPlay: true })
}

function moveFocus(key, button, list) {
  const buttons = playButtons(list)
  const here = buttons.indexOf(button)
  const targets = {
    ArrowDown: here + 1,
    ArrowUp: here - 1,
    Home: 0,
    End: buttons.length - 1,
    PageDown: here + 10,
    PageUp: here - 10,
  }
  const target = targets[key]
  if (target === undefined) return false
  buttons[Math.max(0, Math.min(buttons.length - 1, target))].focus()
  return true
}
