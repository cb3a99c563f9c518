/** The downloads of models that are under way: {model, done_bytes, total_bytes}. */
import { system } from './store.js'

/** The download of a model, or null. */
export const fetchOf = (name) => system.value?.fetches?.find((fetch) => fetch.model === name) ?? null

/** 0 to 1; 0 as long as the size is not known. */
export const fetchedShare = ({ done_bytes: done, total_bytes: total }) => (total ? done / total : 0)
