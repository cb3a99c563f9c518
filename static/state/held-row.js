/** The row of the queue that has the focus, or is about to get it: it stays drawn even when it is out of view. */
import { signal } from '@preact/signals'

/** The id of a task, or null. */
export const heldId = signal(null)
