/** Some segments of a text, done again by another model. */
import { doubtsIn } from './doubts.js'

/** The most that the server takes in one call. */
export const MOST_SEGMENTS = 1000

/** What can be done again: [{name, ids}] of what there is, the most likely wish first. */
export function choicesFor(segments, selected, present) {
  const doubtful = [...new Set(doubtsIn(segments).map(({ id }) => id))]
  return [
    { name: 'selected', ids: selected },
    { name: 'doubtful', ids: doubtful },
    { name: 'present', ids: present ? [present.id] : [] },
  ]
    .filter(({ ids }) => ids.length > 0)
    .map(({ name, ids }) => ({ name, ids: ids.slice(0, MOST_SEGMENTS) }))
}

/** A model that is larger by less is the same one with other weights, such as that for English only. */
const LARGER = 1.5

/**
 * The name of the model to begin with: the largest one that is here, or the next larger one, or the task's own when it
 * is the largest. models: as GET /api/models lists them.
 */
export function betterModel(models, { model, language }) {
  const own = models.find(({ name }) => name === model)
  const larger = models
    .filter((other) => other.precision === own?.precision && other.size_bytes > LARGER * own.size_bytes)
    .filter((other) => other.is_multilingual || language === 'en')
    .sort((a, b) => a.size_bytes - b.size_bytes)
  return (larger.findLast((other) => other.is_available) ?? larger[0] ?? own)?.name ?? model
}
