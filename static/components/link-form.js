/** A file on another server, which this one fetches; only where the administrator allows that. */
import { computed, signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { isRecording } from '../state/recording.js'
import { system } from '../state/store.js'
import { chosenFields } from '../state/upload-options.js'
import { addLink } from '../state/uploads.js'
import { t } from '../text/i18n.js'
import { showQueue } from '../util/address.js'
import { readLink } from '../util/link-name.js'
import { Dialog } from './dialog.js'

const isOpen = signal(false)
const isAllowed = computed(() => system.value?.settings?.ENABLE_LINKS === true)

export function LinkButton() {
  if (!isAllowed.value || isRecording.value) return null
  const open = (event) => {
    event.stopPropagation() // The whole target around it opens the dialog for files.
    isOpen.value = true
  }
  return html`<button type="button" class="quiet" data-testid="add-link" onClick=${open}>${t('link.open')}</button>`
}

export const LinkForm = () => isOpen.value && html`<${Form} />`

function Form() {
  const [text, setText] = useState('')
  const url = readLink(text)
  const isWrong = text.trim() !== '' && url === null
  const close = () => (isOpen.value = false)
  const send = () => {
    if (url === null) return
    close()
    showQueue()
    addLink(url, chosenFields())
  }
  return html`<${Dialog} title=${t('link.title')} testid="link-form" onClose=${close} onSubmit=${send}>
    <label class="option"><span>${t('link.address')}</span>
      <input type="text" inputmode="url" autocomplete="off" spellcheck="false" autofocus placeholder="https://example.org/interview.mp3" value=${text}
        aria-invalid=${isWrong ? 'true' : undefined} aria-describedby="link-hint" data-testid="link-address" onInput=${(event) => setText(event.target.value)} />
    </label>
    <p id="link-hint" class="hint">${isWrong ? t('link.wrong') : t('link.hint')}</p>
    <footer>
      <button type="button" class="quiet" onClick=${close}>${t('link.cancel')}</button>
      <button type="submit" class="primary" disabled=${url === null} data-testid="link-go">${t('link.go')}</button>
    </footer>
  <//>`
}
