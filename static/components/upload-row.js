/** A file on its way to the server, or refused with the reason. */
import { html } from 'htm/preact'
import { removeUpload, sendAgain } from '../state/uploads.js'
import { formatBytes } from '../text/format.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'
import { eachSecond } from '../util/ticker.js'
import { Chip } from './chip.js'
import { IconButton } from './icon-button.js'
import { Problem } from './problem.js'
import { ProgressBar } from './progress-bar.js'

export function UploadRow({ upload }) {
  const { file, fields, key } = upload
  const state = upload.state.value
  const isWaiting = state.phase === 'waiting'
  const isRefused = state.phase === 'refused'
  return html`<li class="task upload is-${state.phase}" data-testid="upload" data-upload-key=${key} data-phase=${state.phase}
    data-filename=${file.name}>
    <div class="task-body">
      <p class="task-top"><span class="task-name" dir="auto">${file.name}</span><${Chip} status=${isWaiting ? 'retrying' : state.phase} /></p>
      <p class="task-meta"><span>${formatBytes(file.size)}</span><span>${fields.model}</span></p>
      <${UploadState} file=${file} state=${state} />
    </div>
    <div class="task-actions">
      ${
        (isRefused || isWaiting) &&
        html`<${IconButton} icon="retry" label=${t('upload.again')} testid="upload-again" onClick=${() => sendAgain(upload)} />`
      }
      <${IconButton} icon="close" label=${isRefused ? t('upload.dismiss') : t('upload.cancel')} testid="upload-remove"
        onClick=${() => removeUpload(upload)} />
    </div>
  </li>`
}

function UploadState({ file, state }) {
  if (state.phase === 'refused') return html`<${Problem} error=${state.error} role="alert" testid="refusal" />`
  if (state.phase === 'waiting') return html`<${Countdown} state=${state} />`
  if (state.phase === 'queued') return null
  return html`<${ProgressBar} value=${state.progress} label=${t('upload.progress', { name: file.name })} />`
}

function Countdown({ state }) {
  const count = Math.max(1, Math.ceil((state.retryAt - eachSecond.value) / 1000))
  return html`<p class="reason">${t('upload.waits', { reason: errorText(state.error), count })}</p>`
}
