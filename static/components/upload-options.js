/** What is asked for with the next files: model, language, task, priority, device, and three rarer wishes. */
import { computed, signal } from '@preact/signals'
import { html } from 'htm/preact'
import { startModelFetch } from '../api.js'
import { isIntakeCompact } from '../state/compact-intake.js'
import { models, refreshModels, system } from '../state/store.js'
import { toast, toastError } from '../state/toasts.js'
import { formatBytes, formatPercent, languageName, locale, language as pageLanguage, t } from '../text/i18n.js'
import { openId } from '../util/address.js'
import { preference } from '../util/preferences.js'
import { Icon } from './icons.js'

const AUTO = 'auto'
const PRIORITIES = ['low', 'normal', 'high']
const MODES = ['exact', 'vad']

/** Empty: the server's default. */
const choices = preference('options', {
  model: '',
  language: '',
  task: 'transcribe',
  priority: 'normal',
  device: AUTO,
  words: false,
  mode: 'exact',
})
const prompt = preference('prompt', '')

const choose = (name, value) => (choices.value = { ...choices.value, [name]: value })

const chosenModel = computed(() => {
  const known = models.value?.models ?? []
  return (
    known.find((model) => model.name === choices.value.model) ??
    known.find((model) => model.name === models.value.default) ??
    null
  )
})

const fetchOf = (name) => system.value?.fetches?.find((fetch) => fetch.model === name) ?? null

/** The form fields of one upload, as they are chosen now. */
export function chosenFields() {
  const { language, task, priority, device, words } = choices.value
  const model = chosenModel.value
  const isMultilingual = model?.is_multilingual ?? true
  return {
    model: model?.name,
    language: isMultilingual ? language || models.value?.default_language : 'en',
    task: isMultilingual ? task : 'transcribe',
    priority,
    device: knownDevices.value.includes(device) ? device : AUTO,
    word_timestamps: words ? 'true' : '',
    mode: chosenMode.value,
    initial_prompt: prompt.value.trim(),
  }
}

/** A choice that was kept before there were modes has none. */
const chosenMode = computed(() => choices.value.mode ?? 'exact')

const knownDevices = computed(() => (system.value?.devices ?? []).map((device) => device.name))

const spokenLanguages = computed(() => {
  void pageLanguage.value
  const named = Object.entries(models.value?.languages ?? {}).map(([code, english]) => [
    code,
    languageName(code, english),
  ])
  return named.sort((a, b) => a[1].localeCompare(b[1], locale.value))
})

const isPhone = matched('(max-width: 640px)')
const isTablet = matched('(max-width: 900px)')

function matched(query) {
  const list = matchMedia(query)
  const matches = signal(list.matches)
  list.addEventListener('change', () => (matches.value = list.matches))
  return matches
}

/** Where they would take several rows from the queue, the options lie behind one line that says what is chosen. */
const isFolded = computed(() => isPhone.value || (isIntakeCompact.value && (isTablet.value || openId.value !== null)))
const isUnfolded = signal(false)
const isMoreOpen = signal(false)

export function Options() {
  const isShown = !isFolded.value || isUnfolded.value
  return html`<div class="options" data-testid="options">
    ${isFolded.value && html`<${Summary} />`}
    ${
      isShown &&
      html`<div class="option-row" id="option-row">
      <${ModelChoice} /><${LanguageChoice} /><${TaskChoice} /><${PriorityChoice} /><${DeviceChoice} />
      <button type="button" class="more-button" aria-expanded=${isMoreOpen.value} aria-controls="option-more" data-testid="option-more"
        onClick=${() => (isMoreOpen.value = !isMoreOpen.value)}>${t('option.more')}<${Icon} name="chevron" /></button>
    </div>`
    }
    ${isShown && isMoreOpen.value && html`<${MoreOptions} />`}
    <${ModelHint} />
  </div>`
}

function Summary() {
  return html`<button type="button" class="summary" aria-expanded=${isUnfolded.value} aria-controls="option-row" data-testid="options-summary"
    onClick=${() => (isUnfolded.value = !isUnfolded.value)}>
    <b>${t('option.title')}</b><span class="summary-words">${summaryText()}</span><${Icon} name="chevron" />
  </button>`
}

/** The chosen model, language and task in a few words, and the mode where it is not the usual one. */
function summaryText() {
  const { model, language, task, mode } = chosenFields()
  const spoken =
    !language || language === AUTO ? t('option.detect') : languageName(language, models.value?.languages?.[language])
  return [model, spoken, t(`option.${task}`), mode !== 'exact' && t(`mode.${mode}`)].filter(Boolean).join(' · ')
}

function Select({ name, label, value, disabled, children }) {
  return html`<label class="option option-${name}">
    <span>${label}</span>
    <select data-testid="option-${name}" value=${value} disabled=${disabled} onChange=${(event) => choose(name, event.target.value)}>${children}</select>
  </label>`
}

const Choice = ({ value, selected, children }) =>
  html`<option value=${value} selected=${value === selected}>${children}</option>`

function ModelChoice() {
  const selected = chosenModel.value?.name ?? ''
  return html`<${Select} name="model" label=${t('option.model')} value=${selected} disabled=${models.value === null}>
    ${(models.value?.models ?? []).map((model) => html`<${Choice} value=${model.name} selected=${selected}>${modelLine(model)}<//>`)}
  <//>`
}

function modelLine(model) {
  const fetching = fetchOf(model.name)
  const state = fetching
    ? t('model.fetching', { percent: formatPercent(shareOf(fetching)) })
    : model.is_available
      ? t('model.here')
      : t('model.not_here')
  return `${model.name} · ${formatBytes(model.size_bytes)} · ${state}`
}

const shareOf = ({ done_bytes, total_bytes }) => (total_bytes ? done_bytes / total_bytes : 0)

function LanguageChoice() {
  const isMultilingual = chosenModel.value?.is_multilingual ?? true
  const fallback = models.value?.default_language ?? AUTO
  const selected = isMultilingual ? choices.value.language || fallback : 'en'
  return html`<${Select} name="language" label=${t('option.language')} value=${selected} disabled=${!isMultilingual}>
    <${Choice} value=${AUTO} selected=${selected}>${t('option.detect')}<//>
    ${spokenLanguages.value.map(([code, name]) => html`<${Choice} value=${code} selected=${selected}>${name}<//>`)}
  <//>`
}

function TaskChoice() {
  const isMultilingual = chosenModel.value?.is_multilingual ?? true
  const selected = isMultilingual ? choices.value.task : 'transcribe'
  return html`<${Select} name="task" label=${t('option.task')} value=${selected} disabled=${!isMultilingual}>
    ${['transcribe', 'translate'].map((task) => html`<${Choice} value=${task} selected=${selected}>${t(`option.${task}`)}<//>`)}
  <//>`
}

function PriorityChoice() {
  const selected = choices.value.priority
  return html`<${Select} name="priority" label=${t('option.priority')} value=${selected}>
    ${PRIORITIES.map((priority) => html`<${Choice} value=${priority} selected=${selected}>${t(`priority.${priority}`)}<//>`)}
  <//>`
}

function DeviceChoice() {
  const selected = knownDevices.value.includes(choices.value.device) ? choices.value.device : AUTO
  return html`<${Select} name="device" label=${t('option.device')} value=${selected}>
    <${Choice} value=${AUTO} selected=${selected}>${t('option.auto_device')}<//>
    ${(system.value?.devices ?? []).map(
      (device) => html`<${Choice} value=${device.name} selected=${selected}>
      ${device.title && device.title !== device.name ? `${device.name} · ${device.title}` : device.name}<//>`,
    )}
  <//>`
}

function ModelHint() {
  const model = chosenModel.value
  if (!model) return null
  const hints = []
  // Beside a queue the language field, which then says English, is enough.
  if (!model.is_multilingual && !isIntakeCompact.value) hints.push(t('model.english_only', { model: model.name }))
  if (model.name.includes('turbo') && choices.value.task === 'translate')
    hints.push(t('model.no_translation', { model: model.name }))
  const isMissing = !model.is_available && !fetchOf(model.name)
  if (chosenMode.value === 'vad') hints.push(t('mode.vad_chosen'))
  if (isMissing) hints.push(t('model.missing_hint', { model: model.name, size: formatBytes(model.size_bytes) }))
  if (isMissing && model.problem) hints.push(t('model.problem', { message: model.problem }))
  if (!hints.length) return null
  return html`<p class="hint" data-testid="model-hint" role="status">
    <span>${hints.join(' ')}</span>
    ${
      isMissing &&
      html`<button type="button" class="quiet small" data-testid="model-fetch" onClick=${() => fetchNow(model.name)}>
      <${Icon} name="download" />${t('model.fetch_now')}</button>`
    }
  </p>`
}

function fetchNow(name) {
  startModelFetch(name)
    .then(() => toast(t('model.fetch_started', { model: name })))
    .then(refreshModels)
    .catch(toastError)
}

function ModeChoice() {
  const selected = chosenMode.value
  return html`<${Select} name="mode" label=${t('option.mode')} value=${selected}>
    ${MODES.map((mode) => html`<${Choice} value=${mode} selected=${selected}>${t(`option.mode_${mode}`)}<//>`)}
  <//>`
}

function MoreOptions() {
  return html`<div class="more-grid" id="option-more">
    <label class="option">
      <span>${t('option.prompt')}</span>
      <input type="text" data-testid="option-prompt" maxlength="2000" value=${prompt.value} placeholder=${t('option.prompt_hint')}
        onInput=${(event) => (prompt.value = event.target.value)} />
    </label>
    <${ModeChoice} />
    <label class="check">
      <input type="checkbox" data-testid="option-words" checked=${choices.value.words} onChange=${(event) => choose('words', event.target.checked)} />
      <span>${t('option.words')}<small>${t('option.words_hint')}</small></span>
    </label>
  </div>`
}
