/** Asks how subtitles are to be cut. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useState } from 'preact/hooks'
import { chooseSubtitles, effective, LIMITS, subtitleOptions, tryOut, UNCUT } from '../state/subtitle-options.js'
import { t } from '../text/i18n.js'
import { Dialog } from './dialog.js'
import { SubtitlePreview } from './subtitle-preview.js'

const isOpen = signal(false)

export const openSubtitleOptions = () => (isOpen.value = true)

export const SubtitleDialog = () => (isOpen.value ? html`<${SubtitleForm} />` : null)

function SubtitleForm() {
  const [draft, setDraft] = useState(subtitleOptions.peek())
  useEffect(() => {
    tryOut(draft)
    return () => tryOut(null)
  }, [draft])

  const close = () => (isOpen.value = false)
  const save = () => {
    chooseSubtitles(draft)
    close()
  }
  const change = (name, value) => setDraft({ ...draft, [name]: value })
  return html`<${Dialog} title=${t('subtitles.title')} testid="subtitles" onClose=${close} onSubmit=${save}>
    <${Fields} draft=${draft} change=${change} />
    <${SubtitlePreview} options=${draft} />
    <small>${t('subtitles.words_hint')}</small>
    <footer>
      <button type="button" class="quiet" data-testid="subtitles-reset" onClick=${() => setDraft(UNCUT)}>${t('subtitles.reset')}</button>
      <span class="spring"></span>
      <button type="button" class="quiet" data-testid="subtitles-cancel" onClick=${close}>${t('subtitles.cancel')}</button>
      <button type="submit" class="primary" data-testid="subtitles-save">${t('subtitles.save')}</button>
    </footer>
  <//>`
}

function Fields({ draft, change }) {
  const isWide = !draft.max_line_width
  return html`
    <${NumberField} name="max_line_width" draft=${draft} change=${change} />
    <${NumberField} name="max_line_count" draft=${draft} change=${change} disabled=${isWide} />
    <${NumberField} name="max_words_per_line" draft=${draft} change=${change} disabled=${effective(draft).max_line_count} />
    <label class="check">
      <input type="checkbox" data-testid="subtitles-highlight_words" checked=${draft.highlight_words}
        onChange=${(event) => change('highlight_words', event.target.checked)} />
      <span>${t('subtitles.highlight_words')}<small>${t('subtitles.highlight_words_hint')}</small></span>
    </label>`
}

function NumberField({ name, draft, change, disabled }) {
  return html`<label class="option">
    <span>${t(`subtitles.${name}`)}</span>
    <input type="number" inputmode="numeric" min="1" max=${LIMITS[name]} step="1" data-testid="subtitles-${name}"
      placeholder=${t('subtitles.no_limit')} value=${disabled ? '' : draft[name]} disabled=${Boolean(disabled)}
      onInput=${(event) => change(name, event.target.value)} />
    <small>${t(`subtitles.${name}_hint`)}</small>
  </label>`
}
