/** The English texts of the advanced options; see en.js. */
export default {
  'option.advanced': 'Advanced',
  'option.changed': '{count} changed',
  'option.reset': 'Back to the defaults',

  'option.group_speakers': 'Who speaks',
  'option.speakers': 'Tell the speakers apart',
  'option.speakers_hint':
    'Each part of the text says whose voice it is, best with word timestamps. Takes longer; less sure where several talk.',
  'option.num_speakers': 'How many people speak',
  'option.num_speakers_hint': '1 to 50, if you know it. Empty: it is found out.',

  'option.group_sound': 'What is heard',
  'option.vad_filter': 'Only speech',
  'option.vad_filter_hint': 'Silence, music and noise are cut out first, so that they cannot become words.',
  'option.clip_timestamps': 'Only these parts',
  'option.clip_timestamps_hint':
    'Start and end in seconds, such as 0,60,120,180. Without the last end: to the end of the recording.',
  'option.hallucination_silence_threshold': 'Skip long silences around invented text',
  'option.hallucination_silence_threshold_hint': 'Silences longer than so many seconds. Needs word timestamps.',
  'option.detect_language': 'Detect the language from the first speech',
  'option.detect_language_hint': 'For recordings that begin with music or silence.',

  'option.group_context': 'What the model is told before',
  'option.hotwords': 'Words to expect everywhere',
  'option.hotwords_hint': 'Like the prompt, but put before every part of the recording.',
  'option.carry_initial_prompt': 'Keep the prompt throughout',
  'option.carry_initial_prompt_hint': 'The prompt is put before every part of the recording, not only the first.',
  'option.condition_on_previous_text': 'Forget the text before',
  'option.condition_on_previous_text_hint': 'A mistake or a repetition is not carried on. Names may vary more.',

  'option.group_search': 'How words are chosen',
  'option.temperature': 'Temperature',
  'option.temperature_hint':
    '0 to 1: the higher, the freer the guesses. Empty: 0, and more only where the text looks wrong.',
  'option.beam_size': 'Beams',
  'option.beam_size_hint':
    '1 to 10 texts are followed side by side. Five often make fewer mistakes; slower, and takes more memory.',
  'option.patience': 'Patience',
  'option.patience_hint': '0 to 10: above 1 the search with beams goes on for longer. Needs beams.',
  'option.best_of': 'Samples',
  'option.best_of_hint': '1 to 10: how many guesses are compared at temperatures above 0.',
  'option.length_penalty': 'Length penalty',
  'option.length_penalty_hint': '0 to 1: the higher, the sooner the longer of two texts is taken.',
  'option.suppress_tokens': 'Tokens that are never written',
  'option.suppress_tokens_hint': 'Their numbers, with commas. -1: most symbols. none: every token may be written.',

  'option.group_doubt': 'When a text is doubted',
  'option.no_speech_threshold': 'Limit for silence',
  'option.no_speech_threshold_hint':
    '0 to 1, or none. Parts that are more probably without speech are skipped: the lower, the more.',
  'option.compression_ratio_threshold': 'Limit for repetition',
  'option.compression_ratio_threshold_hint':
    '0 to 100, or none. Text that repeats itself more is recognised again: the lower, the stricter.',
  'option.logprob_threshold': 'Limit for improbable text',
  'option.logprob_threshold_hint':
    '-100 to 0, or none. Less probable text is recognised again: the nearer to 0, the stricter.',
  'devices.cpu': { one: 'CPU, {count} thread', other: 'CPU, {count} threads' },
}
