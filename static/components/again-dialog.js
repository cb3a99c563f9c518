/** Asks with which options a task's file is to be transcribed once more. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { makeAgain, optionsOf, withModel } from '../state/again.js'
import { models } from '../state/store.js'
import { toast, toastError } from '../state/toasts.js'
import { MODES, TRANSCRIBE, TRANSLATE } from '../state/upload-options.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'
import { openTask } from '../util/address.js'
import { Dialog } from './dialog.js'
import { modelGroups, spokenLanguages } from './option-fields.js'

const asked = signal(null)

export const askAgain = (task) => (asked.value = task)

export const AgainDialog = () => (asked.value ? html`<${AgainForm} key=${asked.value.id} task=${asked.value} />` : null)

function AgainForm({ task }) {
  const [draft, setDraft] = useState(optionsOf(task))
  const [error, setError] = useState(null)
  const close = () => (asked.value = null)
  const start = async () => {
    try {
      const made = await makeAgain(task, draft)
      close()
      openTask(made.id)
      toast(t('again.queued'))
    } catch (fault) {
      if (fault.field in draft) setError(fault)
      else toastError(fault)
    }
  }
  return html`<${Dialog} title=${t('again.title')} testid="again" onClose=${close} onSubmit=${start}>
    <small>${t('again.hint')}</small>
    <${Fields} draft=${draft} setDraft=${setDraft} />
    ${error && html`<p class="field-error" role="alert" data-testid="again-error">${t(`option.${LABELS[error.field] ?? error.field}`)}: ${errorText(error)}</p>`}
    <footer>
      <button type="button" class="quiet" data-testid="again-cancel" onClick=${close}>${t('subtitles.cancel')}</button>
      <button type="submit" class="primary" data-testid="again-start">${t('again.start')}</button>
    </footer>
  <//>`
}

/** Fields whose label has another name than the option. */
const LABELS = { initial_prompt: 'prompt', word_timestamps: 'words' }

function Fields({ draft, setDraft }) {
  const model = models.value?.models.find(({ name }) => name === draft.model)
  const isFixed = model !== undefined && !model.is_multilingual
  const change = (name) => (value) => setDraft({ ...draft, [name]: value })
  const chooseModel = (name) =>
    setDraft(
      withModel(
        draft,
        models.value.models.find((each) => each.name === name),
      ),
    )
  const languages = [['', t('option.detect')], ...spokenLanguages.value]
  const entriesOf = (values, prefix) => values.map((value) => [value, t(`option.${prefix}${value}`)])
  return html`
    <${Select} name="model" value=${draft.model} groups=${modelGroups()} onChange=${chooseModel} />
    <${Select} name="language" value=${draft.language} groups=${[{ entries: languages }]} disabled=${isFixed} onChange=${change('language')} />
    <${Select} name="task" value=${draft.task} groups=${[{ entries: entriesOf([TRANSCRIBE, TRANSLATE], '') }]} disabled=${isFixed} onChange=${change('task')} />
    <${Select} name="mode" value=${draft.mode} groups=${[{ entries: entriesOf(MODES, 'mode_') }]} onChange=${change('mode')} />
    <label class="option"><span>${t('option.prompt')}</span>
      <input type="text" maxlength="2000" value=${draft.initial_prompt} placeholder=${t('option.prompt_hint')} data-testid="again-initial_prompt"
        onInput=${(event) => change('initial_prompt')(event.target.value)} /></label>
    <label class="check"><input type="checkbox" checked=${draft.word_timestamps} data-testid="again-word_timestamps"
      onChange=${(event) => change('word_timestamps')(event.target.checked)} />
      <span>${t('option.words')}<small>${t('option.words_hint')}</small></span></label>`
}

function Select({ name, value, groups, disabled, onChange }) {
  const optionsIn = ({ entries }) =>
    entries.map(([key, text]) => html`<option value=${key} selected=${key === value}>${text}</option>`)
  return html`<label class="option"><span>${t(`option.${name}`)}</span>
    <select value=${value} disabled=${disabled} data-testid="again-${name}" onChange=${(event) => onChange(event.target.value)}>
      ${groups.map((group) => (groups.length > 1 ? html`<optgroup label=${group.label}>${optionsIn(group)}</optgroup>` : optionsIn(group)))}
    </select>
  </label>`
}
