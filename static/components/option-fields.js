/** One field for each option of an upload. */
import { computed } from '@preact/signals'
import { html } from 'htm/preact'
import { titleOf } from '../state/devices.js'
import { fetchedShare, fetchOf } from '../state/model-fetches.js'
import { models } from '../state/store.js'
import { PRIORITIES } from '../state/task.js'
import {
  AUTO,
  choices,
  choose,
  chosenDevice,
  chosenLanguage,
  chosenMode,
  chosenModel,
  chosenTask,
  isMultilingual,
  MODES,
  offeredDevices,
  PRECISIONS,
  prompt,
  setPrompt,
  TRANSCRIBE,
  TRANSLATE,
} from '../state/upload-options.js'
import { formatBytes, languageName } from '../text/format.js'
import { t } from '../text/i18n.js'
import { locale } from '../text/language.js'
import { availabilityText, errorRateText, speedText } from '../text/model-text.js'
import { errorMarks, FieldError } from './field-error.js'

/** entries: [[value, text]]; or groups: [{label, entries}], of which one alone is shown without its label. */
function SelectField({ name, value, entries, groups = [{ entries }], disabled }) {
  return html`<label class="option option-${name}">
    <span>${t(`option.${name}`)}</span>
    <select data-testid="option-${name}" value=${value} disabled=${disabled} ...${errorMarks(name)} onChange=${(event) => choose(name, event.target.value)}>
      ${groups.map((group) =>
        groups.length > 1
          ? html`<optgroup label=${group.label}>${optionsOf(group, value)}</optgroup>`
          : optionsOf(group, value),
      )}
    </select>
    <${FieldError} name=${name} />
  </label>`
}

const optionsOf = ({ entries }, value) =>
  entries.map(([key, text]) => html`<option value=${key} selected=${key === value}>${text}</option>`)

export function ModelField() {
  const isUnknown = models.value === null
  return html`<${SelectField} name="model" value=${chosenModel.value?.name ?? ''} groups=${modelGroups()} disabled=${isUnknown} />`
}

/** The models by precision: [{label, entries}]. */
export function modelGroups() {
  const offered = models.value?.models ?? []
  return PRECISIONS.map((precision) => ({
    label: t(`model.precision_${precision}`),
    entries: offered.filter((model) => model.precision === precision).map((model) => [model.name, modelLine(model)]),
  })).filter(({ entries }) => entries.length > 0)
}

function modelLine(model) {
  const fetching = fetchOf(model.name)
  const parts = [
    model.name,
    formatBytes(model.size_bytes),
    availabilityText(model, fetching && fetchedShare(fetching)),
    speedText(model),
    errorRateText(model),
  ]
  return parts.filter(Boolean).join(' · ')
}

/** [[code, name]], sorted the way the page's language sorts. */
export const spokenLanguages = computed(() => {
  const codes = Object.entries(models.value?.languages ?? {})
  const named = codes.map(([code, english]) => [code, languageName(code, english)])
  return named.sort(([, a], [, b]) => a.localeCompare(b, locale.value))
})

export function LanguageField() {
  const entries = [[AUTO, t('option.detect')], ...spokenLanguages.value]
  return html`<${SelectField} name="language" value=${chosenLanguage.value ?? AUTO} entries=${entries} disabled=${!isMultilingual.value} />`
}

export function TaskField() {
  const entries = [TRANSCRIBE, TRANSLATE].map((task) => [task, t(`option.${task}`)])
  return html`<${SelectField} name="task" value=${chosenTask.value} entries=${entries} disabled=${!isMultilingual.value} />`
}

export function PriorityField() {
  const entries = PRIORITIES.map((priority) => [priority, t(`priority.${priority}`)])
  return html`<${SelectField} name="priority" value=${choices.value.priority} entries=${entries} />`
}

export function DeviceField() {
  const devices = offeredDevices.value
  const entries = devices.map((device) => [device.name, [device.name, titleOf(device)].filter(Boolean).join(' · ')])
  return html`<${SelectField} name="device" value=${chosenDevice.value} entries=${[[AUTO, t('option.auto_device')], ...entries]} />`
}

export function ModeField() {
  const entries = MODES.map((mode) => [mode, t(`option.mode_${mode}`)])
  return html`<${SelectField} name="mode" value=${chosenMode.value} entries=${entries} />`
}

export function PromptField() {
  return html`<label class="option">
    <span>${t('option.prompt')}</span>
    <input type="text" data-testid="option-prompt" maxlength="2000" value=${prompt.value} placeholder=${t('option.prompt_hint')}
      ...${errorMarks('initial_prompt')} onInput=${(event) => setPrompt(event.target.value)} />
    <${FieldError} name="initial_prompt" />
  </label>`
}

function CheckField({ name }) {
  return html`<label class="check">
    <input type="checkbox" data-testid="option-${name}" checked=${choices.value[name] ?? false}
      onChange=${(event) => choose(name, event.target.checked)} />
    <span>${t(`option.${name}`)}<small>${t(`option.${name}_hint`)}</small></span>
  </label>`
}

export const WordTimesField = () => html`<${CheckField} name="words" />`
