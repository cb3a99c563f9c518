/** The tags of tasks. */
import { computed } from '@preact/signals'
import { arrangement, records } from './records.js'

export const MOST_TAG_CHARACTERS = 50

const known = (valuesOf) => {
  void arrangement.value // Read, so that dependents are updated.
  const found = new Map()
  for (const { task } of records.values()) {
    for (const value of valuesOf(task.peek())) if (value) found.set(value.toLowerCase(), value)
  }
  return [...found.values()].sort((a, b) => a.localeCompare(b))
}

/** Of the tasks on the page, sorted. */
export const knownTags = computed(() => known((task) => task.tags ?? []))
export const knownOwners = computed(() => known((task) => [task.owner]))

/** tags with one more, unless it is there already, whatever its case. written: may end with the comma that ended it. */
export function withTag(tags, written) {
  const tag = written.replace(/[,，;；]+$/, '').trim()
  const isThere = tags.some((one) => one.toLowerCase() === tag.toLowerCase())
  return tag === '' || isThere ? tags : [...tags, tag]
}
