/** The form with the options of the next uploads. Where space is short it folds into one line that sums them up. */
import { computed, effect, signal } from '@preact/signals'
import { html } from 'htm/preact'
import { startModelFetch } from '../api.js'
import { isIntakeCompact } from '../state/compact-intake.js'
import { fetchOf } from '../state/model-fetches.js'
import { optionErrors } from '../state/option-errors.js'
import { models, refreshModels } from '../state/store.js'
import { toast, toastError } from '../state/toasts.js'
import { AUTO, choices, chosenFields, chosenMode, chosenModel, TRANSLATE } from '../state/upload-options.js'
import { formatBytes, languageName } from '../text/format.js'
import { sentences, t } from '../text/i18n.js'
import { openId } from '../util/address.js'
import { AdvancedFields } from './advanced-fields.js'
import { Icon } from './icons.js'
import {
  DeviceField,
  LanguageField,
  ModeField,
  ModelField,
  PriorityField,
  PromptField,
  TaskField,
  WordTimesField,
} from './option-fields.js'
import { SetOptions } from './set-options.js'

const isPhone = mediaMatch('(max-width: 640px)')
const isTablet = mediaMatch('(max-width: 900px)')

/** A signal of whether the window matches the media query. */
function mediaMatch(query) {
  const list = matchMedia(query)
  const isMatch = signal(list.matches)
  list.addEventListener('change', () => (isMatch.value = list.matches))
  return isMatch
}

const isFoldable = computed(() => isPhone.value || (isIntakeCompact.value && (isTablet.value || openId.value !== null)))
const isUnfolded = signal(false)
const isMoreOpen = signal(false)
effect(() => {
  if (Object.keys(optionErrors.value).length) isUnfolded.value = isMoreOpen.value = true
})

export function Options() {
  const isShown = !isFoldable.value || isUnfolded.value
  return html`<div class="options" data-testid="options">
    ${isFoldable.value && html`<${Summary} />`}
    ${isShown && html`<${Fields} />`}
    ${isShown && isMoreOpen.value ? html`<${MoreFields} />` : html`<${SetOptions} isAllFolded=${!isShown} />`}
    <${Hint} />
  </div>`
}

function Summary() {
  return html`<button type="button" class="summary" aria-expanded=${isUnfolded.value} aria-controls="option-row"
    data-testid="options-summary" onClick=${() => (isUnfolded.value = !isUnfolded.value)}>
    <b>${t('option.title')}</b><span class="summary-words">${summaryText()}</span><${Icon} name="chevron" />
  </button>`
}

/** Model, language and task, and the mode unless it is the usual one. */
function summaryText() {
  const { model, language, task, mode } = chosenFields()
  const isDetected = !language || language === AUTO
  const spoken = isDetected ? t('option.detect') : languageName(language, models.value?.languages?.[language])
  return [model, spoken, t(`option.${task}`), mode !== 'exact' && t(`mode.${mode}`)].filter(Boolean).join(' · ')
}

function Fields() {
  return html`<div class="option-row" id="option-row">
    <${ModelField} /><${LanguageField} /><${TaskField} /><${PriorityField} /><${DeviceField} />
    <button type="button" class="more-button" aria-expanded=${isMoreOpen.value} aria-controls="option-more"
      data-testid="option-more" onClick=${() => (isMoreOpen.value = !isMoreOpen.value)}>
      ${t('option.more')}<${Icon} name="chevron" />
    </button>
  </div>`
}

function MoreFields() {
  return html`<div class="more-grid" id="option-more"><${PromptField} /><${ModeField} /><${WordTimesField} /><${AdvancedFields} /></div><${BrokenModels} />`
}

/** What the person should know about the chosen model and mode, and a button to download a missing model. */
function Hint() {
  const model = chosenModel.value
  if (!model) return null
  const isMissing = !model.is_available && !model.is_brought && !fetchOf(model.name)
  const hints = hintsFor(model, isMissing)
  if (hints.length === 0) return null
  return html`<p class="hint" data-testid="model-hint" role="status">
    <span>${sentences(...hints)}</span>
    ${
      isMissing &&
      html`<button type="button" class="quiet small" data-testid="model-fetch" onClick=${() => fetchNow(model.name)}>
        <${Icon} name="download" />${t('model.fetch_now')}
      </button>`
    }
  </p>`
}

function hintsFor({ name, weights, precision, is_multilingual: isMultilingual, size_bytes: size, problem }, isMissing) {
  const cannotTranslate = name.includes('turbo') && choices.value.task === TRANSLATE
  return [
    // In the compact form the language field, which then says English, is enough.
    !isMultilingual && !isIntakeCompact.value && t('model.english_only', { model: name }),
    cannotTranslate && t('model.no_translation', { model: name }),
    precision === 'int8' && t('model.int8_chosen', { model: name, weights }),
    chosenMode.value === 'vad' && t('mode.vad_chosen'),
    isMissing && t('model.missing_hint', { model: weights, size: formatBytes(size) }),
    isMissing && problem && t('model.problem', { message: problem }),
  ].filter(Boolean)
}

/** Only in the open form: somebody who brought a model looks there for it. */
function BrokenModels() {
  const broken = models.value?.broken_models ?? []
  if (broken.length === 0) return null
  return html`<ul class="hint broken-models" data-testid="broken-models">
    ${broken.map(
      ({ name, fault, reason }) =>
        html`<li key=${name}>${t('model.broken', { model: name, fault: t(`model.fault_${fault}`) })} <span lang="en" dir="auto">${reason}</span></li>`,
    )}
  </ul>`
}

function fetchNow(name) {
  startModelFetch(name)
    .then(() => toast(t('model.fetch_started', { model: name })))
    .then(refreshModels)
    .catch(toastError)
}
