/** The downloads of weights that are under way: {model, done_bytes, total_bytes}. */
import { models, system } from './store.js'

/** The download of a model's weights, which other models may share, or null. */
export function fetchOf(name) {
  const weights = models.value?.models.find((model) => model.name === name)?.weights ?? name
  return system.value?.fetches?.find((fetch) => fetch.model === weights) ?? null
}

/** 0 to 1; 0 as long as the size is not known. */
export const fetchedShare = ({ done_bytes: done, total_bytes: total }) => (total ? done / total : 0)
