/**
 * The text with its times. Each segment has a button that plays from it; its text is plain text, which can be selected
 * and copied. The segment and the word being played are marked.
 */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { followPlayer, keepInView, rowOf } from '../hooks/follow-player.js'
import { useNearness } from '../hooks/use-nearness.js'
import { showsDoubts } from '../state/doubts.js'
import { editSegment } from '../state/edit-commands.js'
import { place as editPlace } from '../state/editing.js'
import { isRunning } from '../state/task.js'
import { t } from '../text/i18n.js'
import { speakerName } from '../text/speaker-text.js'
import { caretAt } from '../util/caret.js'
import { NoText } from './no-text.js'
import { SegmentRow } from './segment-row.js'

/**
 * search: of useTextSearch. besideTexts: segment id -> what stands beside it in another language, or null. editing: of
 * useEditing.
 */
export function Segments({ task, content, player, search, besideTexts, editing }) {
  const list = useRef(null)
  const watch = useNearness()
  const { found, place, isFilter } = search
  const { segments } = content
  const edited = editing.isOn ? editPlace.value.key : null
  const shown = useMemo(
    () => shownOf(segments, found, isFilter, (id) => edited !== null && editing.editor.keyOf(id) === edited),
    [segments, found, isFilter, edited],
  )
  const blocks = useBlocks(shown, { content, editing, edited, watch, place, besideTexts, pattern: found.pattern })
  useEffect(() => followPlayer(list.current, player, segments), [shown])
  useEffect(() => haveTabStop(list.current), [shown])
  const hit = place.value
  useEffect(() => {
    if (hit) keepInView(rowOf(list.current, hit.id))
  }, [hit])
  if (segments.length === 0) return html`<${NoText} task=${task} content=${content} />`
  const classes = `segments ${showsDoubts.value ? 'shows-doubts' : ''} ${besideTexts ? 'has-beside' : ''}`
  return html`<div role="list" class=${classes} ref=${list} aria-label=${t('transcript.segments')} data-testid="segments"
    onClick=${(event) => onClick(event, segments, player, editing)} onFocusIn=${(event) => moveTabStop(event, list.current)}
    onKeyDown=${(event) => onKey(event, segments, player)} onKeyUp=${onKeyUp}>
    ${blocks}
    ${isRunning(task) && html`<div role="listitem" class="more-comes">${t('transcript.partial')}</div>`}
  </div>`
}

/** isEdited: whether the segment stays though it has no hit. */
function shownOf(segments, found, isFilter, isEdited) {
  if (!isFilter || found.pattern === null) return segments
  const ids = new Set(found.places.map(({ id }) => id))
  return segments.filter(({ id }) => ids.has(id) || isEdited(id))
}

/**
 * The rows in blocks of some fifty, which the browser lays out and paints apart: five thousand in one list take it a tenth
 * of a second for every letter that is typed. A block begins at a segment, not at a number of rows, so that none moves to
 * another when a segment is split.
 */
function useBlocks(shown, { watch, ...about }) {
  const nearness = useMemo(() => new Map(), [])
  const rowOf = useRows(shown, about)
  const blocks = []
  shown.forEach((segment, at) => {
    const key = about.editing.editor?.keyOf(segment.id) ?? segment.id
    if (at === 0 || key % ROWS_IN_BLOCK === 0) blocks.push({ key, rows: [] })
    const block = blocks.at(-1)
    if (!nearness.has(block.key)) nearness.set(block.key, signal(false))
    block.rows.push(rowOf(segment, at, key, nearness.get(block.key)))
  })
  return blocks.map(({ key, rows }) => {
    const height = `--rows: ${rows.length}`
    return html`<${Block} key=${key} watch=${watch} isNear=${nearness.get(key)} height=${height}>${rows}<//>`
  })
}

const ROWS_IN_BLOCK = 50

function Block({ watch, isNear, height, children }) {
  const block = useRef(null)
  useEffect(() => watch(block.current, isNear), [])
  return html`<div role="presentation" class="segment-block" style=${height} ref=${block}>${children}</div>`
}

/** A row stays the same object, which is not drawn again, as long as nothing about it changes: there may be thousands. */
function useRows(shown, { content, editing, edited, ...about }) {
  const drawn = useMemo(() => new WeakMap(), [about.pattern, about.besideTexts])
  const { canEdit } = editing
  return (segment, at, key, isNear) => {
    const isEdited = key === edited
    const speaker =
      segment.speaker !== shown[at - 1]?.speaker ? speakerName(segment.speaker, content.speakers) : undefined
    const state = `${isEdited} ${canEdit} ${speaker}`
    const known = drawn.get(segment)
    if (known?.state === state && known.isNear === isNear && !isEdited) return known.row
    const row = html`<${SegmentRow} key=${key} ...${{ segment, speaker, canEdit, isNear, ...about }} editing=${isEdited ? editing : null} />`
    drawn.set(segment, { state, isNear, row })
    return row
  }
}

/** The segment that an element of its row belongs to, or undefined. */
function segmentOf(element, segments) {
  const id = element.closest('.segment')?.dataset.segment
  return id === undefined ? undefined : segments.find((segment) => String(segment.id) === id)
}

/**
 * The button plays from its segment; a click in the text only moves there, since it may begin a selection. While editing
 * it puts the cursor there.
 */
function onClick(event, segments, player, editing) {
  const segment = segmentOf(event.target, segments)
  if (!segment) return
  const text = event.target.closest('.segment-text')
  if (event.target.closest('.segment-play')) player.seek(segment.start, { andPlay: true })
  else if (event.target.closest('.speaker-change')) editing.openSpeakers(segments.indexOf(segment))
  else if (event.detail === 1 && text && getSelection().isCollapsed) {
    const word = segment.words?.[event.target.closest('.word')?.dataset.word]
    if (editing.isOn) editSegment(editing.editor, segment, caretAt(event, text))
    else player.seek((word ?? segment).start)
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
