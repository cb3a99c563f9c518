/** The system's events of the chosen kind, newest first, and its latest log lines. */
import { signal } from '@preact/signals'
import { fetchEvents, fetchLog } from '../api.js'
import { merged } from '../text/event-text.js'

export const KINDS = ['decision', 'tuning', 'memory', 'model', 'device']
const PAGE_SIZE = 50
const LOG_LINES = 200

/** One of KINDS, or '' for all of them. */
export const kind = signal('decision')
/** [{id, at, kind, text, data}], or null before the first answer. */
export const events = signal(null)
export const hasOlder = signal(false)
/** [{at, level, logger, message}] newest last, or null before the first answer. */
export const logLines = signal(null)
export const eventLogError = signal(null)

export function chooseKind(chosen) {
  kind.value = chosen
  events.value = null
  return readEvents()
}

export async function readEvents() {
  const wanted = kind.peek()
  const page = await quietly(fetchEvents({ kind: wanted, limit: PAGE_SIZE }))
  if (page === null || wanted !== kind.peek()) return
  const list = merged(events.peek() ?? [], page.events)
  if (list === page.events) hasOlder.value = page.events.length === PAGE_SIZE
  events.value = list
}

export async function readOlder() {
  const wanted = kind.peek()
  const page = await quietly(fetchEvents({ kind: wanted, limit: PAGE_SIZE, before: events.peek()?.at(-1)?.id }))
  if (page === null || wanted !== kind.peek()) return
  hasOlder.value = page.events.length === PAGE_SIZE
  events.value = [...events.peek(), ...page.events]
}

export async function readLog() {
  const answer = await quietly(fetchLog(LOG_LINES))
  if (answer !== null) logLines.value = answer.lines
}

async function quietly(answer) {
  try {
    const body = await answer
    eventLogError.value = null
    return body
  } catch (error) {
    if (error.name !== 'ApiError') throw error
    eventLogError.value = error
    return null
  }
}

const LEVELS = ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL']

/** The lines of at least that level, newest first. */
export const linesFrom = (lines, level) =>
  lines.filter((line) => LEVELS.indexOf(line.level) >= LEVELS.indexOf(level)).reverse()
