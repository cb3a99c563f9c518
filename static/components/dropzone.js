/** Where files come in: dropped anywhere on the page, or chosen with a button. Compact once there is a queue to see. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { isIntakeCompact } from '../state/compact-intake.js'
import { isRecording } from '../state/recording.js'
import { system } from '../state/store.js'
import { chosenFields } from '../state/upload-options.js'
import { addFiles, maxUploadBytes } from '../state/uploads.js'
import { formatBytes, formatNumber } from '../text/format.js'
import { sentences, t } from '../text/i18n.js'
import { showQueue } from '../util/address.js'
import { filesOf, hasFiles } from '../util/dropped-files.js'
import { listen } from '../util/listen.js'
import { Icon } from './icons.js'
import { LinkButton, LinkForm } from './link-form.js'
import { Interrupted, Recorder } from './recorder.js'
import { Options } from './upload-options.js'

const isOver = signal(false)

export function DropZone() {
  useEffect(listenForDrops, [])
  return html`<section class="card intake ${isIntakeCompact.value ? 'is-slim' : ''}" data-testid="intake" aria-label=${t('drop.choose')}>
    <${Target} />
    <${Interrupted} />
    <${LinkForm} />
    <${Options} />
  </section>`
}

function Target() {
  const input = useRef(null)
  const open = () => input.current.click()
  const openOnce = (event) => {
    event.stopPropagation() // The whole target opens the dialog too.
    open()
  }
  const onChoice = () => {
    addFiles(input.current.files, chosenFields())
    input.current.value = '' // So that the same file can be chosen again.
  }
  return html`<div class="drop ${isOver.value ? 'is-over' : ''} ${isRecording.value ? 'is-recording' : ''}" data-testid="drop-zone" onClick=${open}>
    <span class="drop-icon"><${Icon} name="upload" /></span>
    <p class="drop-title">${t(titleKey())}</p>
    ${!isRecording.value && html`<p class="drop-hint">${sentences(t('drop.hint'), limitsText())}</p>`}
    <div class="drop-actions"><${Recorder} />
      ${!isRecording.value && html`<${LinkButton} /><button type="button" class="primary" data-testid="choose-files" onClick=${openOnce}>${t('drop.choose')}</button>`}
    </div>
    <input ref=${input} type="file" multiple hidden data-testid="file-input" aria-hidden="true" tabindex="-1"
      onClick=${(event) => event.stopPropagation()} onChange=${onChoice} />
  </div>`
}

function titleKey() {
  if (isOver.value) return 'drop.now'
  return isRecording.value ? 'record.title' : 'drop.title'
}

function limitsText() {
  const hours = system.value?.settings?.MAX_AUDIO_HOURS
  if (!hours || !maxUploadBytes()) return null
  return t('drop.limits', { size: formatBytes(maxUploadBytes()), hours: formatNumber(hours, 1) })
}

function listenForDrops() {
  let leaveTimer = null
  const dragover = (event) => {
    if (!hasFiles(event)) return
    event.preventDefault()
    clearTimeout(leaveTimer)
    isOver.value = true
  }
  // dragleave fires at the border of every element; only when no dragover follows have the files left the page.
  const dragleave = () => {
    clearTimeout(leaveTimer)
    leaveTimer = setTimeout(() => (isOver.value = false), 120)
  }
  const drop = async (event) => {
    if (!hasFiles(event)) return
    event.preventDefault()
    isOver.value = false
    showQueue()
    const fields = chosenFields()
    addFiles(await filesOf(event.dataTransfer), fields)
  }
  return listen(globalThis, { dragover, dragleave, drop })
}
