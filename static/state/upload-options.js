/** The options that the next uploads are sent with, and what the choice depends on. */
import { computed } from '@preact/signals'
import { preference } from '../util/preferences.js'
import { ADVANCED, advanced } from './advanced-options.js'
import { clearOptionError } from './option-errors.js'
import { models, system } from './store.js'

export const AUTO = 'auto'
export const PRECISIONS = ['default', 'int8']
export const MODES = ['exact', 'vad']
export const TRANSCRIBE = 'transcribe'
export const TRANSLATE = 'translate'

/** An empty model or language stands for the server's default. */
export const choices = preference('options', {
  model: '',
  language: '',
  task: TRANSCRIBE,
  priority: 'normal',
  device: AUTO,
  words: false,
  mode: MODES[0],
})
export const prompt = preference('prompt', '')

export function choose(name, value) {
  choices.value = { ...choices.value, [name]: value }
  clearOptionError(name)
}

export function setPrompt(text) {
  prompt.value = text
  clearOptionError('initial_prompt')
}

/** The chosen model as GET /api/models describes it, or the default one, or null while the models are not known. */
export const chosenModel = computed(() => {
  const offered = models.value?.models ?? []
  const named = (name) => offered.find((model) => model.name === name)
  return named(choices.value.model) ?? named(models.value?.default) ?? null
})

/** False for a model that knows English only: language and task are then fixed. */
export const isMultilingual = computed(() => chosenModel.value?.is_multilingual ?? true)

export const chosenLanguage = computed(() =>
  isMultilingual.value ? choices.value.language || models.value?.default_language : 'en',
)

export const chosenTask = computed(() => (isMultilingual.value ? choices.value.task : TRANSCRIBE))

/** Choices that were kept before there were modes have none. */
export const chosenMode = computed(() => choices.value.mode ?? MODES[0])

/** The devices that the chosen model runs on. */
export const offeredDevices = computed(() => {
  const kinds = chosenModel.value?.device_kinds
  return (system.value?.devices ?? []).filter((device) => !kinds || kinds.includes(device.kind))
})

/** A device that is gone, or not for the chosen model, is not asked for. */
export const chosenDevice = computed(() => {
  const names = offeredDevices.value.map((device) => device.name)
  return names.includes(choices.value.device) ? choices.value.device : AUTO
})

const NOT_IN_FAST_MODE = ['vad_filter', 'clip_timestamps', 'hallucination_silence_threshold']

/** Whether an advanced option means anything beside what else is chosen; the server refuses those that do not. */
export function isMeaningful(name) {
  if (chosenMode.value === 'vad' && NOT_IN_FAST_MODE.includes(name)) return false
  if (name === 'hallucination_silence_threshold') return choices.value.words
  if (name === 'num_speakers') return 'speakers' in advanced.value
  if (name === 'patience') return 'beam_size' in advanced.value
  if (name === 'detect_language') return isMultilingual.value
  return true
}

const advancedFields = () =>
  Object.fromEntries(ADVANCED.filter(isMeaningful).map((name) => [name, (advanced.value[name] ?? '').trim()]))

/** The form fields of one upload, as they are chosen now. */
export const chosenFields = () => ({
  model: chosenModel.value?.name,
  language: chosenLanguage.value,
  task: chosenTask.value,
  priority: choices.value.priority,
  device: chosenDevice.value,
  word_timestamps: choices.value.words ? 'true' : '',
  mode: chosenMode.value,
  initial_prompt: prompt.value.trim(),
  ...advancedFields(),
})
