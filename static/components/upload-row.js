/** A file on its way to the server, or refused with the reason. */
import { html } from 'htm/preact'
import { remove, sendAgain } from '../state/uploads.js'
import { errorText, formatBytes, formatPercent, t } from '../text/i18n.js'
import { eachSecond } from '../util/ticker.js'
import { Chip } from './chip.js'
import { Icon } from './icons.js'

const PHASE_CHIPS = { waiting: 'retrying' }

export function UploadRow({ upload }) {
  const state = upload.state.value
  const isRefused = state.phase === 'refused'
  return html`<li class="task upload is-${state.phase}" data-testid="upload" data-upload-key=${upload.key} data-phase=${state.phase} data-filename=${upload.file.name}>
    <div class="task-body">
      <p class="task-top"><span class="task-name" dir="auto">${upload.file.name}</span><${Chip} status=${PHASE_CHIPS[state.phase] ?? state.phase} /></p>
      <p class="task-meta"><span>${formatBytes(upload.file.size)}</span><span>${upload.fields.model}</span></p>
      <${UploadState} upload=${upload} state=${state} />
    </div>
    <div class="task-actions">
      ${(isRefused || state.phase === 'waiting') && html`<${Action} icon="retry" label=${t('upload.again')} testid="upload-again" onClick=${() => sendAgain(upload)} />`}
      <${Action} icon="close" label=${isRefused ? t('upload.dismiss') : t('upload.cancel')} testid="upload-remove" onClick=${() => remove(upload)} />
    </div>
  </li>`
}

const Action = ({ icon, label, testid, onClick }) =>
  html`<button type="button" class="round" title=${label} aria-label=${label} data-testid=${testid} onClick=${onClick}><${Icon} name=${icon} /></button>`

function UploadState({ upload, state }) {
  if (state.phase === 'refused')
    return html`<p class="problem" role="alert" data-testid="refusal"><${Icon} name="alert" />${errorText(state.error)}</p>`
  if (state.phase === 'waiting') return html`<${Countdown} state=${state} />`
  if (state.phase === 'queued') return null
  return html`<div class="bar-row">
    <progress value=${state.progress} max="1" aria-label=${t('upload.progress', { name: upload.file.name })}></progress>
    <span class="figures">${formatPercent(state.progress)}</span>
  </div>`
}

function Countdown({ state }) {
  const count = Math.max(1, Math.ceil((state.retryAt - eachSecond.value) / 1000))
  return html`<p class="reason">${t('upload.waits', { reason: errorText(state.error), count })}</p>`
}
