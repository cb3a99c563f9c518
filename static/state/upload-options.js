/** The options that the next uploads are sent with, and what the choice depends on. */
import { computed } from '@preact/signals'
import { preference } from '../util/preferences.js'
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
export const hotwords = preference('hotwords', '')
export const BEAMS = '5' // as many as other programs search with

export const choose = (name, value) => (choices.value = { ...choices.value, [name]: value })

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
  hotwords: hotwords.value.trim(),
  beam_size: choices.value.beams ? BEAMS : '',
  condition_on_previous_text: choices.value.forgets ? 'false' : '',
  detect_language: choices.value.fromSpeech ? 'first_speech' : '',
})
