/** Asks which segments another model is to do again, and which model. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { redoSegments } from '../api.js'
import { betterModel, choicesFor } from '../state/redo.js'
import { models } from '../state/store.js'
import { toast, toastError } from '../state/toasts.js'
import { t } from '../text/i18n.js'
import { Dialog } from './dialog.js'
import { modelGroups } from './option-fields.js'

const asked = signal(null)

/** present: the segment at the player's position, or null. selected: ids. */
export function askRedo(task, content, present, selected) {
  const choices = choicesFor(content.segments, selected, present)
  const model = betterModel(models.peek()?.models ?? [], task.options)
  if (choices.length > 0) asked.value = { task, version: content.version ?? 0, choices, model }
}

export const RedoDialog = () => (asked.value ? html`<${RedoForm} ...${asked.value} />` : null)

function RedoForm({ task, version, choices, model }) {
  const [draft, setDraft] = useState({ choice: choices[0].name, model })
  const close = () => (asked.value = null)
  const start = () => {
    const { ids } = choices.find(({ name }) => name === draft.choice)
    redoSegments(task.id, { base: version, segments: ids, model: draft.model })
      .then(() => toast(t('redo.queued', { count: ids.length })))
      .catch(toastError)
    close()
  }
  return html`<${Dialog} title=${t('redo.title')} testid="redo-dialog" onClose=${close} onSubmit=${start}>
    <small>${t('redo.hint')}</small>
    <${Choices} choices=${choices} chosen=${draft.choice} onChoose=${(choice) => setDraft({ ...draft, choice })} />
    <label class="option"><span>${t('option.model')}</span>
      <select value=${draft.model} data-testid="redo-model" onChange=${(event) => setDraft({ ...draft, model: event.target.value })}>
        ${modelGroups().map((group) => html`<optgroup label=${group.label}>${optionsIn(group, draft.model)}</optgroup>`)}
      </select>
    </label>
    <footer>
      <button type="button" class="quiet" data-testid="redo-cancel" onClick=${close}>${t('subtitles.cancel')}</button>
      <button type="submit" class="primary" data-testid="redo-start">${t('again.start')}</button>
    </footer>
  <//>`
}

const optionsIn = ({ entries }, chosen) =>
  entries.map(([name, text]) => html`<option value=${name} selected=${name === chosen}>${text}</option>`)

function Choices({ choices, chosen, onChoose }) {
  return html`<fieldset class="redo-choices"><legend class="unseen">${t('transcript.segments')}</legend>
    ${choices.map(
      ({ name, ids }) => html`<label class="check">
        <input type="radio" name="redo" checked=${name === chosen} data-testid="redo-${name}" onChange=${() => onChoose(name)} />
        <span>${t(`redo.${name}`, { count: ids.length })}</span>
      </label>`,
    )}
  </fieldset>`
}
