/** The system's events of the chosen kind, newest first, and its latest log lines. */
import { signal } from '@preact/signals'
import { fetchEvents, fetchLog } from '../api.js'
import { accountName, isAdmin } from './account.js'

/** What people did is shown where they can be told apart, and to admins only. */
export const KINDS = ['decision', 'tuning', 'memory', 'model', 'device', ...(accountName && isAdmin ? ['audit'] : [])]
const PAGE_SIZE = 50
const LOG_LINES = 200

/** One of KINDS, or '' for all of them. */
export const kind = signal('decision')
/** [{id, at, kind, text, data}], or null before the first answer. */
export const events = signal(null)
export const hasOlder = signal(false)
/** [{at, level, logger, message}], newest last, or null before the first answer. */
export const logLines = signal(null)
/** Why the latest request failed, or null. */
export const eventLogError = signal(null)

export function chooseKind(chosen) {
  kind.value = chosen
  events.value = null
  return readEvents()
}

export async function readEvents() {
  const page = await readPage()
  if (page === null) return
  const list = mergeEvents(events.peek() ?? [], page)
  if (list === page) hasOlder.value = isFull(page)
  events.value = list
}

export async function readOlderEvents() {
  const page = await readPage({ before: events.peek()?.at(-1)?.id })
  if (page === null) return
  hasOlder.value = isFull(page)
  events.value = [...events.peek(), ...page]
}

/** Null when the request failed, or when another kind was chosen meanwhile. */
async function readPage(position = {}) {
  const asked = kind.peek()
  const answer = await orNull(fetchEvents({ kind: asked, limit: PAGE_SIZE, ...position }))
  return asked === kind.peek() ? (answer?.events ?? null) : null
}

const isFull = (page) => page.length === PAGE_SIZE

/**
 * The newest page followed by the older events that are known, without duplicates. When the two do not meet, because
 * more happened than fits a page, only the page is kept: a list with a gap would mislead.
 */
export function mergeEvents(known, page) {
  const oldest = page.at(-1)?.id
  const doMeet = known.some((event) => event.id >= oldest)
  if (!doMeet) return page
  return [...page, ...known.filter((event) => event.id < oldest)]
}

export async function readLog() {
  if (!isAdmin) return
  const answer = await orNull(fetchLog(LOG_LINES))
  if (answer !== null) logLines.value = answer.lines
}

/** The answer, or null after an ApiError, which is kept in `eventLogError`. */
async function orNull(request) {
  try {
    const answer = await request
    eventLogError.value = null
    return answer
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
