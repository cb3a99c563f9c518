/** The text with its times. A click or Enter plays from a segment, and the segment being played is marked. */
import { effect } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { isCompleted, isRunning, isWaiting } from '../state/task.js'
import { segmentAt } from '../state/transcripts.js'
import { formatClock } from '../text/format.js'
import { t } from '../text/i18n.js'
import { listen } from '../util/listen.js'
import { scrollBehavior } from '../util/preferences.js'

/** For this long after the person scrolls, the list does not scroll by itself. */
const HANDS_OFF_MS = 4000

/** query: only segments that contain it are shown. */
export function Segments({ task, content, player, query }) {
  const list = useRef(null)
  const [focused, setFocused] = useState(0)
  useEffect(() => followPlayer(list.current, player, content.segments), [content.segments])
  if (content.segments.length === 0) return html`<${NoText} task=${task} content=${content} />`

  const needle = query.trim().toLowerCase()
  const shown = needle
    ? content.segments.filter((segment) => segment.text.toLowerCase().includes(needle))
    : content.segments
  const tabStop = shown.some((segment) => segment.id === focused) ? focused : shown[0]?.id
  return html`
    ${needle && html`<p class="matches" role="status" data-testid="matches">${t('transcript.matches', { count: shown.length })}</p>`}
    <ol class="segments" ref=${list} aria-label=${t('transcript.segments')} data-testid="segments"
      onKeyDown=${(event) => onKey(event, list.current)}>
      ${shown.map(
        (
          segment,
        ) => html`<${Segment} key=${segment.id} segment=${segment} needle=${needle} isTabStop=${segment.id === tabStop}
          onFocus=${setFocused} onPlay=${player.seek} />`,
      )}
      ${isRunning(task) && html`<li class="more-comes">${t('transcript.partial')}</li>`}
    </ol>`
}

function Segment({ segment, needle, isTabStop, onFocus, onPlay }) {
  const { id, start, text } = segment
  const time = formatClock(start)
  return html`<li>
    <button type="button" class="segment" tabindex=${isTabStop ? 0 : -1} data-testid="segment" data-start=${start} data-segment=${id}
      onFocus=${() => onFocus(id)} onClick=${() => onPlay(start, { andPlay: true })}>
      <time aria-label=${t('transcript.segment', { time })}>${time}</time>
      <span dir="auto">${marked(text.trim(), needle)}</span>
    </button>
  </li>`
}

/** The text with every match marked. */
function marked(text, needle) {
  if (!needle) return text
  const parts = []
  const lower = text.toLowerCase()
  let from = 0
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, from)) {
    parts.push(text.slice(from, at), html`<mark>${text.slice(at, at + needle.length)}</mark>`)
    from = at + needle.length
  }
  return [...parts, text.slice(from)]
}

function NoText({ task, content }) {
  const key = emptinessOf(task, content)
  return html`<div class="blank" data-testid="no-text" aria-busy=${key === null}><p>${t(key ?? 'queue.loading')}</p></div>`
}

/** The key of what to say in place of a text, or null while it is being loaded. */
function emptinessOf(task, content) {
  if (isRunning(task)) return 'transcript.nothing_yet'
  if (isWaiting(task)) return 'transcript.waiting'
  if (!isCompleted(task)) return 'transcript.none'
  return content.isLoaded ? 'transcript.empty' : null
}

/**
 * Marks the segment at the player's position and keeps it in view. It works on the elements themselves, because drawing
 * ten thousand rows again at every frame would be too slow. Returns how to stop.
 */
function followPlayer(list, player, segments) {
  if (!list) return undefined
  let current = null
  let lastTouch = 0
  const stopEffect = effect(() => {
    const segment = segmentAt(segments, player.position.value)
    const hasStarted = player.isPlaying.value || player.position.value > 0
    if (segment === current && hasStarted) return
    list.querySelector('.segment[aria-current]')?.removeAttribute('aria-current')
    current = hasStarted ? segment : null
    const row = current && list.querySelector(`.segment[data-segment="${current.id}"]`)
    row?.setAttribute('aria-current', 'true')
    if (row && player.isPlaying.value && performance.now() - lastTouch > HANDS_OFF_MS) keepInView(row, list)
  })
  const onTouch = () => (lastTouch = performance.now())
  const stopListening = listen(list, { wheel: onTouch, touchmove: onTouch }, { passive: true })
  return () => {
    stopEffect()
    stopListening()
  }
}

function keepInView(row, list) {
  const [outer, inner] = [list.getBoundingClientRect(), row.getBoundingClientRect()]
  if (inner.top >= outer.top + 40 && inner.bottom <= outer.bottom - 40) return
  list.scrollBy({ top: inner.top - outer.top - outer.height / 3, behavior: scrollBehavior() })
}

function onKey(event, list) {
  const rows = [...list.querySelectorAll('.segment')]
  const here = rows.indexOf(document.activeElement)
  const targets = {
    ArrowDown: here + 1,
    ArrowUp: here - 1,
    Home: 0,
    End: rows.length - 1,
    PageDown: here + 10,
    PageUp: here - 10,
  }
  const target = targets[event.key]
  if (target === undefined || here < 0) return
  event.preventDefault()
  rows[Math.max(0, Math.min(rows.length - 1, target))].focus()
}
