/** Whether there is anything to look at below the place where files come in, which then makes itself small. */
import { computed, effect } from '@preact/signals'
import { preference } from '../util/preferences.js'
import { system, totalCount } from './store.js'
import { uploads } from './uploads.js'

/** What the last visit ended with: the best guess until the server has answered, so that the page does not jump. */
const wasInUse = preference('in_use', false)

export const isIntakeCompact = computed(() => {
  if (uploads.value.length > 0 || totalCount.value > 0) return true
  return system.value === null && wasInUse.peek()
})

effect(() => {
  if (system.value !== null) wasInUse.value = isIntakeCompact.value
})
