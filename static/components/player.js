/** The recording: one media element for sound and video, with its waveform and its controls. */
import { html } from 'htm/preact'
import { useEffect } from 'preact/hooks'
import { mediaUrl } from '../api.js'
import { useMediaState } from '../hooks/use-media-state.js'
import { speed } from '../state/playback.js'
import { t } from '../text/i18n.js'
import { PlayerControls } from './player-controls.js'
import { Subtitles } from './subtitles.js'

/** player: of usePlayer. content: of transcriptOf. */
export function Player({ task, content, player }) {
  const { kind, onMetadata, onError } = useMediaState(task.id, player)
  const what = kind.value
  useEffect(() => {
    if (player.media.current) player.media.current.playbackRate = speed.value
  }, [speed.value])
  return html`<div class="player is-${what}" data-testid="player" data-kind=${what}>
    <video ref=${player.media} src=${mediaUrl(task.id)} preload="metadata" playsinline data-testid="media" aria-label=${task.filename}
      onLoadedMetadata=${onMetadata} onError=${onError} onPlay=${keepSpeed} onRateChange=${noteSpeed}
      onClick=${(event) => isAlone(event.target) || player.toggle()} onFullscreenChange=${haveControls}>
      ${what === 'video' && html`<${Subtitles} task=${task} content=${content} />`}
    </video>
    ${
      ['unplayable', 'gone', 'unreachable'].includes(what)
        ? html`<p class="hint" role="status" data-testid="no-media">${t(`player.${what}`)}</p>`
        : html`<${PlayerControls} task=${task} content=${content} player=${player} kind=${what} />`
    }
  </div>`
}

/** In full screen there is nothing but the picture, so the browser's own controls are shown there. */
const isAlone = (video) => document.fullscreenElement === video

function haveControls({ target }) {
  target.controls = isAlone(target)
}

/** The pitch stays as it is; an element forgets its speed when it loads. */
function keepSpeed({ target }) {
  target.preservesPitch = true
  target.playbackRate = speed.value
}

/** The browser's own controls, in full screen, change it too. */
function noteSpeed({ target }) {
  if (!target.paused) speed.value = target.playbackRate
}
