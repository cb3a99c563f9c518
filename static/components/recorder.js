/** Recording with the microphone, and what to do with recordings that were interrupted. */
import { html } from 'htm/preact'
import { isWorthAsking, recordedMs } from '../state/recorded.js'
import {
  canRecord,
  discardInterrupted,
  discardRecording,
  interrupted,
  recording,
  sendInterrupted,
  startRecording,
  stopRecording,
  togglePause,
} from '../state/recording.js'
import { formatClock } from '../text/format.js'
import { t } from '../text/i18n.js'
import { eachSecond } from '../util/ticker.js'
import { confirmDiscard } from './confirm.js'

/** The whole target around it opens the dialog for files. */
const alone = (action) => (event) => {
  event.stopPropagation()
  action()
}

export function Recorder() {
  const state = recording.value
  if (!canRecord) return null
  if (state.phase === 'idle' || state.phase === 'asking') {
    return html`<button type="button" class="quiet" data-testid="record" aria-disabled=${state.phase === 'asking'}
      onClick=${alone(startRecording)}>${t('record.start')}</button>`
  }
  void eachSecond.value // Read, so that the time is drawn again.
  return html`<section class="recorder" aria-label=${t('record.title')} data-testid="recorder">
    <span class="record-dot ${state.phase === 'paused' ? 'is-paused' : ''}" aria-hidden="true"></span>
    <span class="record-time" role="timer" aria-label=${t('record.length')}>${formatClock(recordedMs(state, Date.now()) / 1000)}</span>
    <button type="button" class="quiet" data-testid="record-pause" onClick=${alone(togglePause)}>
      ${state.phase === 'paused' ? t('record.resume') : t('record.pause')}</button>
    <button type="button" class="primary" data-testid="record-stop" onClick=${alone(stopRecording)}>${t('record.stop')}</button>
    <button type="button" class="quiet" data-testid="record-discard" onClick=${alone(discard)}>${t('record.discard')}</button>
  </section>`
}

/** It goes on while the person is asked. */
async function discard() {
  const ms = recordedMs(recording.peek(), Date.now())
  if (!isWorthAsking(ms) || (await confirmDiscard())) discardRecording()
}

async function discardLeft(note) {
  if (await confirmDiscard(note.name)) discardInterrupted(note)
}

export function Interrupted() {
  if (interrupted.value.length === 0) return null
  return html`<ul class="interrupted" data-testid="interrupted">${interrupted.value.map(
    (note) => html`<li key=${note.id}><span>${t('record.interrupted', { name: note.name })}</span>
      <button type="button" class="primary small" onClick=${() => sendInterrupted(note)}>${t('record.send')}</button>
      <button type="button" class="quiet small" onClick=${() => discardLeft(note)}>${t('record.discard')}</button></li>`,
  )}</ul>`
}
