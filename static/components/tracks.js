/** The sound tracks of a file that has several: which one is transcribed, and a menu that has another one transcribed. */
import { html } from 'htm/preact'
import { transcribeTrack } from '../api.js'
import { applyAnswer } from '../state/store.js'
import { toast, toastError } from '../state/toasts.js'
import { t } from '../text/i18n.js'
import { trackText } from '../text/track-text.js'
import { openTask } from '../util/address.js'
import { Menu } from './menu.js'

/** In the queue's line of facts. */
export function TrackFact({ tracks }) {
  const chosen = chosenOf(tracks)
  if (!chosen) return null
  const text = t('track.of', { index: chosen.index, count: tracks.length })
  return html`<span title=${trackText(chosen)} data-testid="task-track">${text}</span>`
}

/** In the open task. The browser's player cannot be told which track to play, so it plays the default one. */
export function Tracks({ task }) {
  const chosen = chosenOf(task.tracks)
  if (!chosen) return null
  const entries = task.tracks
    .filter((track) => track !== chosen)
    .map((track) => ({
      text: trackText(track),
      onSelect: () => transcribe(task, track),
      testid: `track-${track.index}`,
    }))
  const isOther = !chosen.default && task.tracks.some((track) => track.default)
  return html`<div class="tracks" data-testid="tracks">
    <p class="task-meta"><span>${trackText(chosen)}</span>${isOther && html`<span>${t('track.player')}</span>`}</p>
    <${Menu} text=${t('track.another')} label=${t('track.another')} groups=${[{ entries }]} testid="another-track" />
  </div>`
}

/** Of a file with one track there is nothing to say. */
const chosenOf = (tracks) => (tracks?.length > 1 ? tracks.find((track) => track.chosen) : undefined)

function transcribe(task, track) {
  applyAnswer(transcribeTrack(task.id, track.index))
    .then((made) => {
      openTask(made.id)
      toast(t('track.queued', { track: trackText(track) }))
    })
    .catch(toastError)
}
