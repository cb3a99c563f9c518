/** A file on its way to the server, or refused with the reason. */
import { html } from 'htm/preact'
import { useRef } from 'preact/hooks'
import { toast } from '../state/toasts.js'
import { goOnWith, openEarlier, sendAgain, takeBack, transcribeAgain } from '../state/uploads.js'
import { formatBytes, formatPercent } from '../text/format.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'
import { eachSecond } from '../util/ticker.js'
import { Chip } from './chip.js'
import { FileName } from './file-name.js'
import { IconButton } from './icon-button.js'
import { Problem } from './problem.js'
import { ProgressBar } from './progress-bar.js'

/** place: from 1 among the `size` rows of its list. */
export function UploadRow({ upload, place, size }) {
  const { file, fields, key } = upload
  const state = upload.state.value
  const isWaiting = state.phase === 'waiting'
  const isRefused = state.phase === 'refused'
  const isKnown = state.phase === 'known'
  return html`<li class="task upload is-${state.phase}" data-testid="upload" data-upload-key=${key} data-phase=${state.phase}
    data-row-id=${rowIdOf(upload)} aria-posinset=${place} aria-setsize=${size} data-filename=${file.name}>
    <div class="task-body">
      <p class="task-top"><span class="task-name" dir="auto" title=${file.name}><${FileName} name=${file.name} /></span><${Chip} status=${isWaiting ? 'retrying' : state.phase} /></p>
      <p class="task-meta">${file.size > 0 && html`<span>${formatBytes(file.size)}</span>`}${upload.url && html`<span>${new URL(upload.url).host}</span>`}${fields.model && html`<span>${fields.model}</span>`}</p>
      <${UploadState} upload=${upload} state=${state} />
    </div>
    <div class="task-actions">
      ${
        ((isRefused && !upload.isGone) || isWaiting) &&
        html`<${IconButton} icon="retry" label=${t('upload.again')} testid="upload-again" onClick=${() => sendAgain(upload)} />`
      }
      <${IconButton} icon="close" label=${isRefused || isKnown ? t('upload.dismiss') : t('upload.cancel')} testid="upload-remove"
        onClick=${() => takeBack(upload)} />
    </div>
  </li>`
}

export const rowIdOf = (upload) => `upload-${upload.key}`

function UploadState({ upload, state }) {
  if (state.phase === 'known') return html`<${Question} upload=${upload} />`
  if (state.phase === 'refused') return html`<${Problem} error=${state.error} role="alert" testid="refusal" />`
  if (state.phase === 'unfinished') return html`<${GoOn} upload=${upload} share=${state.progress} />`
  if (state.phase === 'waiting') return html`<${Countdown} state=${state} />`
  if (state.phase === 'queued') return null
  if (state.phase === 'fetching') return html`<p class="reason" role="status">${t('link.fetching')}</p>`
  return html`<${ProgressBar} value=${state.progress} label=${t('upload.progress', { name: upload.file.name })} />`
}

function Question({ upload }) {
  return html`<div class="question" role="alert" data-testid="known-file">
    <p class="reason">${t('upload.known')}</p>
    <button type="button" class="quiet small" data-testid="open-earlier" onClick=${() => openEarlier(upload)}>${t('upload.open_earlier')}</button>
    <button type="button" class="quiet small" data-testid="transcribe-again" onClick=${() => transcribeAgain(upload)}>${t('upload.transcribe_again')}</button>
  </div>`
}

/** The browser forgets a chosen file with the page, so the person chooses it again. */
function GoOn({ upload, share }) {
  const input = useRef(null)
  const onChoice = () => {
    const [file] = input.current.files
    if (file && !goOnWith(file)) toast(t('upload.other_file', { name: upload.file.name }), { tone: 'error' })
    input.current.value = ''
  }
  return html`<div class="question" data-testid="unfinished">
    <p class="reason">${t('upload.unfinished', { share: formatPercent(share) })}</p>
    <button type="button" class="quiet small" data-testid="go-on" onClick=${() => input.current.click()}>${t('upload.choose')}</button>
    <input ref=${input} type="file" hidden aria-hidden="true" tabindex="-1" data-testid="go-on-input" onChange=${onChoice} />
  </div>`
}

function Countdown({ state }) {
  const count = Math.max(1, Math.ceil((state.retryAt - eachSecond.value) / 1000))
  return html`<p class="reason">${t('upload.waits', { reason: errorText(state.error), count })}</p>`
}
