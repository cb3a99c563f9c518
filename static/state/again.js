/** What can be asked for when a file is transcribed once more, without sending it again. */
import { transcribeAgain } from '../api.js'
import { applyAnswer } from './store.js'
import { TRANSCRIBE } from './upload-options.js'

/** The options of a task that its dialog shows, as its fields hold them. */
export const optionsOf = ({ options }) => ({
  model: options.model,
  language: options.language ?? '',
  task: options.task,
  mode: options.mode,
  word_timestamps: options.word_timestamps,
  initial_prompt: options.initial_prompt ?? '',
})

/** Those that differ from the task's own. An empty one stands for the default, which of a language is to detect it. */
export function changesFrom(task, draft) {
  const before = optionsOf(task)
  const names = Object.keys(before).filter((name) => draft[name] !== before[name])
  return Object.fromEntries(names.map((name) => [name, name === 'language' ? draft[name] || 'auto' : draft[name]]))
}

/** The draft with another model; one that knows English only can do nothing else. */
export function withModel(draft, model) {
  return model.is_multilingual
    ? { ...draft, model: model.name }
    : { ...draft, model: model.name, language: 'en', task: TRANSCRIBE }
}

/** Resolves to the new task. Rejects with an ApiError. */
export const makeAgain = (task, draft) => applyAnswer(transcribeAgain(task.id, changesFrom(task, draft)))
