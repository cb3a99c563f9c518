/** The buttons of the player, its times, and the slider or the waveform. */
import { html } from 'htm/preact'
import { useEffect, useState } from 'preact/hooks'
import { BACK_S, LEAP_S, STEP_S } from '../hooks/use-player.js'
import { useWaveform } from '../hooks/use-waveform.js'
import { SPEEDS, showsSubtitles, speed, ZOOMS } from '../state/playback.js'
import { segmentAt } from '../state/transcripts.js'
import { formatClock, formatNumber } from '../text/format.js'
import { t } from '../text/i18n.js'
import { IconButton } from './icon-button.js'
import { Icon } from './icons.js'

/** kind: of useMediaState. */
export function PlayerControls({ task, content, player, kind }) {
  const waveform = useWaveform(task.id, kind === 'audio' || kind === 'video')
  const [zoom, setZoom] = useState(0)
  const duration = player.duration.value || task.audio_seconds || 0
  return html`<${SeekBar} waveform=${waveform} duration=${duration} player=${player} segments=${content.segments} zoom=${ZOOMS[zoom]} />
    <div class="controls">
      <${PlayButton} player=${player} />
      <${IconButton} icon="back" label=${t('player.back', { count: BACK_S })} testid="back" onClick=${player.back} />
      <${Times} duration=${duration} player=${player} />
      <span class="spring"></span>
      ${content.segments.length > 0 && html`<${LoopButton} segments=${content.segments} player=${player} />`}
      ${waveform && html`<${ZoomButtons} zoom=${zoom} setZoom=${setZoom} />`}
      ${kind === 'video' && html`<${VideoButtons} player=${player} hasText=${content.isFinal} />`}
      <${SpeedSelect} />
    </div>`
}

function PlayButton({ player }) {
  const isPlaying = player.isPlaying.value
  return html`<button type="button" class="primary round big" aria-label=${isPlaying ? t('player.pause') : t('player.play')}
    data-testid="play" onClick=${player.toggle}><${Icon} name=${isPlaying ? 'pause' : 'play'} /></button>`
}

function Times({ duration, player }) {
  return html`<span class="times" data-testid="times">
    <b data-testid="current-time">${formatClock(player.position.value)}</b> / ${formatClock(duration)}</span>`
}

/** Plays the present segment again and again. */
function LoopButton({ segments, player }) {
  const isOn = player.loop.value !== null
  const toggle = () => {
    const { start, end } = segmentAt(segments, player.position.peek()) ?? segments[0]
    player.loop.value = isOn ? null : { start, end }
    if (!isOn && player.position.peek() < start) player.seek(start)
  }
  return html`<${Switch} icon="loop" label=${t('player.loop')} isOn=${isOn} testid="loop" onClick=${toggle} />`
}

function ZoomButtons({ zoom, setZoom }) {
  return html`<span class="zoom">
    <${IconButton} icon="minus" label=${t('player.zoom_out')} isDisabled=${zoom === 0} testid="zoom-out" onClick=${() => setZoom(zoom - 1)} />
    <${IconButton} icon="plus" label=${t('player.zoom_in')} isDisabled=${zoom === ZOOMS.length - 1} testid="zoom-in" onClick=${() => setZoom(zoom + 1)} />
  </span>`
}

function VideoButtons({ player, hasText }) {
  const toggle = () => (showsSubtitles.value = !showsSubtitles.value)
  const fill = () =>
    (player.media.current.requestFullscreen ?? player.media.current.webkitEnterFullscreen)?.call(player.media.current)
  return html`
    ${hasText && html`<${Switch} icon="subtitles" label=${t('player.subtitles')} isOn=${showsSubtitles.value} testid="subtitles-switch" onClick=${toggle} />`}
    <${IconButton} icon="fill" label=${t('player.full_screen')} testid="full-screen" onClick=${fill} />`
}

function Switch({ icon, label, isOn, testid, onClick }) {
  return html`<button type="button" class="round" aria-pressed=${isOn} aria-label=${label} title=${label} data-testid=${testid} onClick=${onClick}>
    <${Icon} name=${icon} />
  </button>`
}

function SpeedSelect() {
  const choices = SPEEDS.includes(speed.value) ? SPEEDS : [...SPEEDS, speed.value].sort((a, b) => a - b)
  return html`<select class="mini" aria-label=${t('player.speed')} title=${t('player.speed')} value=${speed.value} data-testid="speed"
    onChange=${(event) => (speed.value = Number(event.target.value))}>
    ${choices.map((value) => html`<option value=${value} selected=${value === speed.value}>${formatNumber(value, 2)}×</option>`)}
  </select>`
}

/** What the keys of the slider move by, in seconds. */
const KEYS = {
  ArrowLeft: -STEP_S,
  ArrowDown: -STEP_S,
  ArrowRight: STEP_S,
  ArrowUp: STEP_S,
  PageDown: -LEAP_S,
  PageUp: LEAP_S,
}

/** A slider, and above it the waveform, which the pointer uses where there is one. */
function SeekBar({ waveform, duration, player, segments, zoom }) {
  const Wave = useWave(waveform !== null)
  const isDrawn = waveform !== null && Wave !== null
  return html`<div class="seek-bar ${isDrawn ? 'is-drawn' : ''}">
    <${Slider} duration=${duration} player=${player} />
    ${isDrawn && html`<${Wave} ...${{ waveform, duration, player, segments, zoom }} />`}
  </div>`
}

function Slider({ duration, player }) {
  const position = player.position.value
  const onKey = (event) => {
    const step = KEYS[event.key]
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    player.step(event.shiftKey ? Math.sign(step) * BACK_S : step)
  }
  return html`<input type="range" min="0" max=${duration} step="0.1" value=${position} aria-label=${t('player.position')} data-testid="seek"
    aria-valuetext=${formatClock(position)} onKeyDown=${onKey} onInput=${(event) => player.seek(Number(event.target.value))} />`
}

/** The component that draws, with its library, which is not needed before a recording is open. */
function useWave(isWanted) {
  const [Wave, setWave] = useState(null)
  useEffect(() => {
    if (!isWanted) return
    import('./wave.js').then(
      (module) => setWave(() => module.Wave),
      () => undefined, // Without a connection there is the slider.
    )
  }, [isWanted])
  return Wave
}
