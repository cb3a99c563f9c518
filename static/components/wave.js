/** The waveform: the whole recording, or a part that follows the player, with the segments and the loop in it. */
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import WaveSurfer from 'wavesurfer.js'
import HoverPlugin from 'wavesurfer.js/plugins/hover'
import RegionsPlugin from 'wavesurfer.js/plugins/regions'
import TimelinePlugin from 'wavesurfer.js/plugins/timeline'
import { formatClock } from '../text/format.js'
import { theme } from '../util/preferences.js'
import { drawBars, fitted, fullHeight } from '../util/waveform.js'

const HEIGHT = 48
const LOOP = 'loop'

/** zoom: pixels for a second, or 0 for the whole recording. */
export function Wave({ waveform, duration, player, segments, zoom }) {
  const container = useRef(null)
  const [wave, setWave] = useState(null)
  useEffect(() => {
    const made = makeWave(container.current, fitted(waveform, duration), duration, player)
    setWave(made)
    return made.destroy
  }, [waveform, duration, theme.value])
  useEffect(() => wave?.zoom(zoom), [wave, zoom])
  useEffect(() => wave?.showSegments(zoom ? segments : []), [wave, zoom, segments])
  useEffect(() => wave?.showLoop(player.loop.value), [wave, player.loop.value])
  return html`<div class="wave" ref=${container} aria-hidden="true" data-testid="waveform" data-zoom=${zoom}></div>`
}

function makeWave(container, peaks, duration, player) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const loudest = fullHeight(peaks)
  const regions = RegionsPlugin.create()
  const surfer = WaveSurfer.create({
    container,
    media: player.media.current,
    peaks: [peaks],
    duration,
    height: HEIGHT,
    cursorWidth: 1,
    cursorColor: colour('--accent-strong'),
    waveColor: colour('--wave'),
    progressColor: colour('--accent'),
    renderFunction: ([shown], context) => drawBars(shown, context, loudest),
    cspNonce: document.querySelector('script[nonce]')?.nonce,
    plugins: [regions, timeline(colour), hover(colour)],
  })
  const colours = { loop: `${colour('--warn')}33`, border: colour('--line-strong') }
  return {
    destroy: () => surfer.destroy(),
    zoom: (pixels) => whenReady(surfer, () => surfer.zoom(pixels)),
    showSegments: (segments) => showSegments(surfer, regions, segments, colours),
    showLoop: (loop) => whenReady(surfer, () => showLoop(regions, loop, player, colours)),
  }
}

const timeline = (colour) =>
  TimelinePlugin.create({
    height: 14,
    secondaryLabelOpacity: 0.8,
    formatTimeCallback: formatClock,
    style: { fontSize: '10px', color: colour('--ink-3') },
  })

const hover = (colour) =>
  HoverPlugin.create({
    lineColor: colour('--ink-3'),
    labelColor: colour('--surface'),
    labelBackground: colour('--ink'),
    formatTimeCallback: formatClock,
  })

function whenReady(surfer, act) {
  if (surfer.getDuration() > 0 && surfer.getDecodedData()) act()
  else surfer.once('ready', act)
}

/** Only those in view have an element. Returns how to stop. */
function showSegments(surfer, regions, segments, { border }) {
  const shown = new Map()
  const show = (from, to) => {
    const inView = new Map(segments.filter(({ start, end }) => end > from && start < to).map((each) => [each.id, each]))
    for (const [id, region] of shown) {
      if (inView.has(id)) continue
      region.remove()
      shown.delete(id)
    }
    for (const [id, { start, end }] of inView) {
      if (!shown.has(id)) shown.set(id, regions.addRegion({ ...still, start, end, color: 'transparent' }))
      outline(shown.get(id), border)
    }
  }
  const stop = surfer.on('scroll', show)
  const stopZoom = surfer.on('zoom', () => show(...viewOf(surfer)))
  whenReady(surfer, () => show(...viewOf(surfer)))
  return () => {
    stop()
    stopZoom()
    for (const region of shown.values()) region.remove()
  }
}

const still = { drag: false, resize: false }

function outline({ element }, colour) {
  if (element) element.style.borderInline = `1px solid ${colour}`
}

function viewOf(surfer) {
  const perPixel = surfer.getDuration() / surfer.getWrapper().scrollWidth
  const from = surfer.getScroll() * perPixel
  return [from, from + surfer.getWidth() * perPixel]
}

/** Its ends can be dragged. Returns how to remove it. */
function showLoop(regions, loop, player, { loop: color }) {
  const shown = regions.getRegions().find(({ id }) => id === LOOP)
  if (!loop) return shown?.remove()
  if (shown) return shown.setOptions(loop)
  const region = regions.addRegion({ id: LOOP, ...loop, color, drag: true, resize: true })
  region.on('update-end', () => (player.loop.value = { start: region.start, end: region.end }))
  return undefined
}
