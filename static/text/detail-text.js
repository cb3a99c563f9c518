/**
 * What exactly is wrong with an option or an edit: the server says it in English beside the code `invalid_option`. In other
 * languages the sentences that a person can bring about on this page are recognised, and are texts with their values.
 */
import { lookUp } from './i18n.js'

/** `detail.<name>` -> the server's sentence. tests/web/test_page_details.py compares them with its own. */
const SENTENCES = {
  one_of: 'Must be one of {words}.',
  number_or_none: 'Must be a number from {least} to {most}, or none.',
  number_or_empty: 'Must be a number from {least} to {most}, or empty.',
  whole_number: 'Must be a whole number from {least} to {most}, or empty.',
  characters: 'Must have at most {most} characters.',
  track:
    'Must be the number of a sound track, from 1 to {most}, or its language, such as de, ger or German; nothing for the default track.',
  tokens:
    "Must be ids of this model's text tokens, 0 to {last}, with commas between them, at most {most}; -1 for most symbols; or none.",
  clips:
    'Must be start,end,start,end … in seconds, ascending, at most {most} of them; without the last end, to the end of the recording.',
  needs_speakers: 'Needs speakers.',
  needs_words: 'Needs word_timestamps.',
  needs_beams: 'Needs beam_size.',
  patience: 'beam_size times patience must round to at least 1.',
  not_in_vad: 'Is not possible with mode=vad, which looks for speech itself: use mode=exact.',
  language_of_model: 'The model {model} does not know this language.',
  english_only: 'The model {model} knows only English.',
  english_no_translation: 'The model {model} knows only English, so it cannot translate.',
  no_device: 'This server has no device {device}.',
  cpus_only: 'The model {model} runs on CPUs only. Choose the device cpu or auto. Choose the model {other} for a GPU.',
  limit: '{name} must be from {least} to {most}.',
  title: 'A title has at most {most} characters.',
  note: 'A note has at most {most} characters.',
  tag: 'A tag has at most {most} characters.',
  tags: 'A task has at most {most} tags.',
  segment_length: 'A segment may have {most} characters at most.',
  control_characters: 'It has control characters in it, or half of a character.',
  speaker_name: 'A name of at most {most} characters on one line is expected.',
  many_speakers: 'There may be {most} speakers at most.',
  ends_before: 'It has to end after it starts.',
  beyond_end: 'It would lie behind the end of the recording.',
  before_previous: 'It would start before the segment before it.',
  after_next: 'It would start after the segment behind it.',
  no_find: 'A text to look for is wanted.',
}

const PATTERNS = Object.entries(SENTENCES).map(([name, sentence]) => [name, patternOf(sentence)])

function patternOf(sentence) {
  const escaped = sentence.replace(/[.*+?^$()|[\]\\]/g, '\\$&')
  return new RegExp(`^${escaped.replace(/\{(\w+)\}/g, '(?<$1>.+)')}$`)
}

/** Undefined for a sentence that the page does not know, or a language that has no text for it. */
export function detailText(message) {
  for (const [name, pattern] of PATTERNS) {
    const found = pattern.exec(message)
    if (found) return lookUp(`detail.${name}`, found.groups)
  }
  return undefined
}
