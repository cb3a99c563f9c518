/** The options behind the advanced fold, by the names of the form's fields, with openai-whisper's defaults. */
import { computed } from '@preact/signals'
import { preference } from '../util/preferences.js'
import { clearOptionError } from './option-errors.js'

export const GROUPS = {
  speakers: ['speakers', 'num_speakers'],
  sound: ['vad_filter', 'clip_timestamps', 'hallucination_silence_threshold', 'detect_language'],
  context: ['hotwords', 'carry_initial_prompt', 'condition_on_previous_text'],
  search: ['temperature', 'beam_size', 'patience', 'best_of', 'length_penalty', 'suppress_tokens'],
  doubt: ['no_speech_threshold', 'compression_ratio_threshold', 'logprob_threshold'],
}
export const ADVANCED = Object.values(GROUPS).flat()

/** What a box that is ticked is sent as; the others are fields to be written in. */
export const TICKED = {
  speakers: 'true',
  vad_filter: 'true',
  detect_language: 'first_speech',
  carry_initial_prompt: 'true',
  condition_on_previous_text: 'false',
}

/** What an empty field shows: what it then means. */
export const SHOWN_DEFAULTS = {
  num_speakers: '–',
  clip_timestamps: '0',
  hallucination_silence_threshold: 'none',
  temperature: '0 … 1',
  beam_size: '–',
  patience: '1',
  best_of: '1',
  length_penalty: '–',
  suppress_tokens: '-1',
  no_speech_threshold: '0.6',
  compression_ratio_threshold: '2.4',
  logprob_threshold: '-1',
}

/** Fields that hold a number and nothing else, for the keyboard of a phone. */
export const NUMBERS = {
  num_speakers: 'numeric',
  temperature: 'decimal',
  beam_size: 'numeric',
  patience: 'decimal',
  best_of: 'numeric',
  length_penalty: 'decimal',
}

/** {name: text} of those that differ from the default. */
export const advanced = preference('advanced', {})

export const changedCount = computed(() => Object.keys(advanced.value).length)

/** text: as it is sent; empty for the default. */
export function setAdvanced(name, text) {
  const { [name]: _, ...others } = advanced.value
  advanced.value = text.trim() ? { ...others, [name]: text } : others
  clearOptionError(name)
}

export function resetAdvanced() {
  advanced.value = {}
  for (const name of ADVANCED) clearOptionError(name)
}
