/** The text with its times: click or Enter plays from there, and the spoken segment lights up. */
import { effect } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { isRunning, isWaiting } from '../state/store.js'
import { formatClock, t } from '../text/i18n.js'
import { segmentAt } from '../util/segment-at.js'

/** After the person scrolls, the list stays where they put it for this long. */
const HANDS_OFF_MS = 4000

export function Segments({ task, content, player, words }) {
  const list = useRef(null)
  const [focused, setFocused] = useState(0)
  useEffect(() => lightUp(list, player, content.segments), [content.segments])
  if (content.segments.length === 0) return html`<${NoText} task=${task} content=${content} />`
  const needle = words.trim().toLowerCase()
  const shown = needle
    ? content.segments.filter((segment) => segment.text.toLowerCase().includes(needle))
    : content.segments
  const first = shown.some((segment) => segment.id === focused) ? focused : shown[0]?.id
  return html`
    ${needle && html`<p class="matches" role="status" data-testid="matches">${t('transcript.matches', { count: shown.length })}</p>`}
    <ol class="segments" ref=${list} aria-label=${t('transcript.segments')} data-testid="segments" onKeyDown=${(event) => onKey(event, list.current)}>
      ${shown.map(
        (
          segment,
        ) => html`<${Segment} key=${segment.id} segment=${segment} needle=${needle} isStop=${segment.id === first}
        onFocus=${setFocused} onPlay=${player.seek} />`,
      )}
      ${isRunning(task) && html`<li class="more-comes">${t('transcript.partial')}</li>`}
    </ol>`
}

function Segment({ segment, needle, isStop, onFocus, onPlay }) {
  const time = formatClock(segment.start)
  return html`<li><button type="button" class="segment" tabindex=${isStop ? 0 : -1} data-testid="segment" data-start=${segment.start} data-segment=${segment.id}
    onFocus=${() => onFocus(segment.id)} onClick=${() => onPlay(segment.start, { andPlay: true })}>
    <time aria-label=${t('transcript.segment', { time })}>${time}</time>
    <span dir="auto">${marked(segment.text.trim(), needle)}</span>
  </button></li>`
}

/** The text with every place that matches marked. */
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
  const key = isRunning(task)
    ? 'nothing_yet'
    : isWaiting(task)
      ? 'waiting'
      : task.status === 'completed'
        ? content.isLoaded
          ? 'empty'
          : null
        : 'none'
  return html`<div class="blank" data-testid="no-text" aria-busy=${key === null}><p>${key ? t(`transcript.${key}`) : t('queue.loading')}</p></div>`
}

/** Marks the segment at the player's position, without drawing ten thousand rows again, and keeps it in view. */
function lightUp(list, player, segments) {
  if (!list.current) return undefined
  const element = list.current
  let lit = null
  let lastTouch = 0
  const onTouch = () => (lastTouch = performance.now())
  const stop = effect(() => {
    const segment = segmentAt(segments, player.position.value)
    const isBegun = player.isPlaying.value || player.position.value > 0
    if (segment === lit && isBegun) return
    element.querySelector('.segment[aria-current]')?.removeAttribute('aria-current')
    lit = isBegun ? segment : null
    const row = lit && element.querySelector(`.segment[data-segment="${lit.id}"]`)
    row?.setAttribute('aria-current', 'true')
    if (row && player.isPlaying.value && performance.now() - lastTouch > HANDS_OFF_MS) keepInView(row, element)
  })
  element.addEventListener('wheel', onTouch, { passive: true })
  element.addEventListener('touchmove', onTouch, { passive: true })
  return () => {
    stop()
    element.removeEventListener('wheel', onTouch)
    element.removeEventListener('touchmove', onTouch)
  }
}

function keepInView(row, list) {
  const [outer, inner] = [list.getBoundingClientRect(), row.getBoundingClientRect()]
  if (inner.top >= outer.top + 40 && inner.bottom <= outer.bottom - 40) return
  const isCalm = matchMedia('(prefers-reduced-motion: reduce)').matches
  list.scrollBy({ top: inner.top - outer.top - outer.height / 3, behavior: isCalm ? 'auto' : 'smooth' })
}

function onKey(event, list) {
  const rows = [...list.querySelectorAll('.segment')]
  const here = rows.indexOf(document.activeElement)
  const target = {
    ArrowDown: here + 1,
    ArrowUp: here - 1,
    Home: 0,
    End: rows.length - 1,
    PageDown: here + 10,
    PageUp: here - 10,
  }[event.key]
  if (target === undefined || here < 0) return
  event.preventDefault()
  rows[Math.max(0, Math.min(rows.length - 1, target))].focus()
}
