/** The recording: one media element for sound and video, with a waveform where drawing one is cheap. */
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import WaveSurfer from 'wavesurfer.js'
import { mediaUrl } from '../api.js'
import { formatClock, formatNumber } from '../text/format.js'
import { t } from '../text/i18n.js'
import { preference, theme } from '../util/preferences.js'
import { fetchPeaks, isDrawable } from '../util/waveform.js'
import { Icon } from './icons.js'

const SPEEDS = [0.75, 1, 1.25, 1.5, 2]

const speed = preference('speed', 1)

/** player: of usePlayer. */
export function Player({ task, player }) {
  const [kind, setKind] = useState('unknown') // unknown, audio, video or unplayable
  const onMetadata = (event) => setKind(event.target.videoWidth > 0 ? 'video' : 'audio')
  useEffect(() => {
    if (player.media.current) player.media.current.playbackRate = speed.value
  }, [speed.value])
  return html`<div class="player is-${kind}" data-testid="player" data-kind=${kind}>
    <video ref=${player.media} src=${mediaUrl(task.id)} preload="metadata" playsinline data-testid="media" aria-label=${task.filename}
      onLoadedMetadata=${onMetadata} onError=${() => setKind('unplayable')} onClick=${player.toggle}
      onRateChange=${(event) => (speed.value = event.target.playbackRate)}
      onPlay=${(event) => (event.target.playbackRate = speed.value)}></video>
    ${
      kind === 'unplayable'
        ? html`<p class="hint" role="status">${t('player.unplayable')}</p>`
        : html`<${Controls} task=${task} player=${player} kind=${kind} />`
    }
  </div>`
}

function Controls({ task, player, kind }) {
  const isPlaying = player.isPlaying.value
  return html`<div class="controls">
    <button type="button" class="primary round big" aria-label=${isPlaying ? t('player.pause') : t('player.play')}
      data-testid="play" onClick=${player.toggle}><${Icon} name=${isPlaying ? 'pause' : 'play'} /></button>
    <${SeekBar} task=${task} player=${player} hasWave=${kind === 'audio' && isDrawable(task)} />
    <${Times} task=${task} player=${player} />
    <${SpeedSelect} />
  </div>`
}

function Times({ task, player }) {
  const duration = player.duration.value || task.audio_seconds
  return html`<span class="times" data-testid="times">
    <b data-testid="current-time">${formatClock(player.position.value)}</b> / ${formatClock(duration)}</span>`
}

function SpeedSelect() {
  return html`<select class="mini" aria-label=${t('player.speed')} title=${t('player.speed')} value=${speed.value} data-testid="speed"
    onChange=${(event) => (speed.value = Number(event.target.value))}>
    ${SPEEDS.map((value) => html`<option value=${value} selected=${value === speed.value}>${formatNumber(value, 2)}×</option>`)}
  </select>`
}

/** A slider for keyboard and screen reader, covered by the waveform where there is one. */
function SeekBar({ task, player, hasWave }) {
  const [peaks, setPeaks] = useState(null)
  useEffect(() => {
    if (!hasWave) return undefined
    const stop = new AbortController()
    fetchPeaks(mediaUrl(task.id), stop.signal).then((found) => !stop.signal.aborted && setPeaks(found))
    return () => stop.abort()
  }, [task.id, hasWave])
  const position = player.position.value
  const duration = player.duration.value || task.audio_seconds || 0
  return html`<div class="seek-bar ${peaks ? 'is-drawn' : ''}">
    <input type="range" min="0" max=${duration} step="0.1" value=${position} aria-label=${t('player.position')} data-testid="seek"
      aria-valuetext=${formatClock(position)} onInput=${(event) => player.seek(Number(event.target.value))} />
    ${peaks && html`<${Wave} peaks=${peaks} duration=${duration} player=${player} />`}
  </div>`
}

function Wave({ peaks, duration, player }) {
  const container = useRef(null)
  useEffect(() => {
    const style = getComputedStyle(document.documentElement)
    const wave = WaveSurfer.create({
      container: container.current,
      media: player.media.current,
      peaks: [peaks],
      duration,
      height: 48,
      barWidth: 2,
      barGap: 1.5,
      barRadius: 2,
      cursorWidth: 0,
      waveColor: style.getPropertyValue('--wave').trim(),
      progressColor: style.getPropertyValue('--accent').trim(),
      cspNonce: document.querySelector('script[nonce]')?.nonce,
    })
    return () => wave.destroy()
  }, [peaks, theme.value])
  return html`<div class="wave" ref=${container} aria-hidden="true" data-testid="waveform"></div>`
}
