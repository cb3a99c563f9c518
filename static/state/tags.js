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

/** What stands between two tags. */
export const TAG_BREAK = /[,，、;；]/

/** tags with those that were written, unless they are there already, whatever their case. */
export function withTags(tags, written) {
  const all = [...tags]
  for (const tag of written.split(TAG_BREAK).map((part) => part.trim())) {
    const isThere = all.some((one) => one.toLowerCase() === tag.toLowerCase())
    if (tag !== '' && !isThere) all.push(tag)
  }
  return all
}
