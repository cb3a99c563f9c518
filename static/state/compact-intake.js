/** Whether the place where files come in is drawn compact, because there are tasks to see below it. */
import { computed, effect } from '@preact/signals'
import { preference } from '../util/preferences.js'
import { system, totalCount } from './store.js'
import { uploads } from './uploads.js'

/** What the last visit ended with: a guess until the server has answered, so that the page does not jump. */
const wasCompact = preference('in_use', false)

export const isIntakeCompact = computed(() => {
  if (uploads.value.length > 0 || totalCount.value > 0) return true
  return system.value === null && wasCompact.peek()
})

effect(() => {
  if (system.value !== null) wasCompact.value = isIntakeCompact.value
})
