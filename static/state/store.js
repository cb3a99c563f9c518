/**
 * What the page knows of the server: the tasks of the list, the system and the models, as signals.
 *
 * Answers and events may overtake each other. Every record therefore remembers when it was last touched, and an answer
 * does not overwrite what arrived after its request was sent.
 */
import { batch, computed, signal } from '@preact/signals'
import * as api from '../api.js'
import { openId } from '../util/address.js'
import { isFinished, isRunning, isWaiting, REFUSED, RUNNING } from './task.js'
import { forgetTranscript, resetTranscript } from './transcripts.js'

const PAGE_SIZE = 50
const LARGEST_PAGE = 200
/** What ended within this time has just ended; longer than clocks differ and events take. */
const JUST_MS = 60_000

/** id -> {task, touched, seq, isListed} of every task on the page, where `task` is a signal. */
const records = new Map()
/** Grows when the members of the list or their order may have changed. */
const arrangement = signal(0)
let touches = 0
/** An answer that was under way when its task was deleted must not bring the task back. */
const deletedIds = new Set()

export const statusFilter = signal(null)
export const query = signal('')
/** How many tasks of each status the whole server has. */
export const counts = signal({})
export const totalCount = computed(() => Object.values(counts.value).reduce((sum, count) => sum + count, 0))
export const nextCursor = signal(null)
export const isLoading = signal(true)
export const loadError = signal(null)
export const system = signal(null)
export const models = signal(null)

/** The signal of a task, or undefined when the page does not have it. Once the task is deleted the signal holds null. */
export const taskOf = (id) => {
  const record = records.get(id)
  if (!record) void arrangement.value // Read, so that dependents are told when it comes.
  return record?.task
}

/** Whether the list shows the task, as it is filtered and loaded now. */
export const isListed = (id) => Boolean(records.get(id)?.isListed) && passesStatus(records.get(id).task.peek())

/** The tasks of the list: running ones by start, waiting ones by position, finished ones newest first. */
export const groups = computed(() => {
  void arrangement.value // Read, so that dependents are updated.
  const shown = [...records.values()]
    .filter((record) => record.isListed)
    .map((record) => record.task.peek())
    .filter(passesStatus)
  return {
    running: shown.filter(isRunning).sort(byStart),
    waiting: shown.filter(isWaiting).sort(byTurn),
    finished: shown.filter(isFinished).sort(byAge),
  }
})

export const shownIds = computed(() => {
  const { running, waiting, finished } = groups.value
  return [...running, ...waiting, ...finished].map((task) => task.id)
})

const byAge = (a, b) => (b.created_at < a.created_at ? -1 : b.created_at > a.created_at ? 1 : b.id < a.id ? -1 : 1)
const byStart = (a, b) => ((a.started_at ?? '') < (b.started_at ?? '') ? -1 : 1)
const byTurn = (a, b) => (a.position ?? Infinity) - (b.position ?? Infinity) || byAge(b, a)
const passesStatus = (task) => statusFilter.value === null || task.status === statusFilter.value

let tellEnd = () => {}
/** listener: called with every task that has just come to its end. */
export const followEnds = (listener) => (tellEnd = listener)

/** Applies a task from an event, or from the answer to an action of the person. */
export function applyTask(task) {
  batch(() => put(task, { isListed: belongs(task) }))
}

function put(task, { isListed }) {
  if (deletedIds.has(task.id)) return
  const record = records.get(task.id) ?? { task: signal(null), seq: 0, isListed: false }
  const before = record.task.peek()
  if (isRestarted(task, before)) {
    record.seq = 0
    resetTranscript(task.id)
  }
  const isPlaced = records.has(task.id) && (record.isListed || !isListed) && hasSamePlace(task, before)
  record.touched = ++touches
  record.isListed ||= isListed
  record.task.value = { ...task, speed: isRunning(task) ? (before?.speed ?? null) : null, receivedAt: Date.now() }
  records.set(task.id, record)
  if (!isPlaced) arrangement.value += 1
  if (before && !isFinished(before) && isFinished(task)) tellEnd(task)
}

/** Whether nothing has changed that decides where in the list a task stands. */
function hasSamePlace(task, before) {
  return ['status', 'position', 'started_at', 'created_at'].every((name) => task[name] === before[name])
}

function isRestarted(task, before) {
  return (
    before !== null &&
    !isFinished(task) &&
    (task.progress === 0 || task.progress < before.progress - 1e-6) &&
    before.progress > 0
  )
}

/** Whether a task that arrives by itself belongs in the list as it is filtered and loaded now. */
function belongs(task) {
  if (!passesStatus(task)) return false
  if (query.value && !task.filename.toLowerCase().includes(query.value.toLowerCase())) return false
  if (isRunning(task) || nextCursor.value === null) return true
  const listed = [...records.values()].filter((record) => record.isListed && isFinished(record.task.peek()))
  return listed.length === 0 || listed.some((record) => record.task.peek().created_at <= task.created_at)
}

/** Applies a task from the live feed. One that the page did not have is news too when it has only just ended. */
export function applyNews(task) {
  const isNew = !records.has(task.id) && isFinished(task)
  applyTask(task)
  if (isNew && Math.abs(Date.now() - Date.parse(task.finished_at)) < JUST_MS) tellEnd(task)
}

/** Applies {id, seq, progress, speed, eta_seconds} to a running task. */
export function applyProgress({ id, seq, progress, speed, eta_seconds }) {
  const record = records.get(id)
  if (!record || seq < record.seq || !isRunning(record.task.peek())) return
  record.seq = seq
  record.task.value = { ...record.task.peek(), progress, speed, eta_seconds, receivedAt: Date.now() }
}

export function applyDeleted(id) {
  deletedIds.add(id)
  const record = records.get(id)
  records.delete(id)
  forgetTranscript(id)
  batch(() => {
    arrangement.value += 1
    if (record) record.task.value = null
  })
}

export const wasDeleted = (id) => deletedIds.has(id)

export function applySystem(state) {
  batch(() => {
    system.value = state
    if (state.counts) counts.value = state.counts
  })
}

let refreshes = 0

/** Reads the list again as far as it was loaded, and all running tasks. Of overlapping calls only the newest counts. */
export async function refresh({ isNewFilter = false } = {}) {
  const turn = ++refreshes
  const asked = touches
  isLoading.value = true
  try {
    const wanted = isNewFilter ? PAGE_SIZE : Math.max(PAGE_SIZE, listedCount())
    const [pages, running] = await Promise.all([readPages(wanted), readRunning()])
    if (turn !== refreshes) return
    replaceList([...pages.tasks, ...running], asked, pages)
    loadError.value = null
  } catch (error) {
    if (error.name !== 'ApiError') throw error
    if (turn === refreshes) loadError.value = error
  } finally {
    if (turn === refreshes) isLoading.value = false
  }
}

async function readPages(wanted) {
  if (statusFilter.peek() === REFUSED) return { tasks: [], next_cursor: null }
  const tasks = []
  let page = { next_cursor: null }
  do {
    const limit = Math.min(LARGEST_PAGE, wanted - tasks.length)
    page = await api.listTasks({ ...filterNow(), limit, cursor: page.next_cursor })
    tasks.push(...page.tasks)
  } while (page.next_cursor && tasks.length < wanted)
  return { tasks, next_cursor: page.next_cursor, counts: page.counts }
}

/** Running tasks are always shown, though in a long queue they may be far behind the first page. */
async function readRunning() {
  if (query.value || statusFilter.value) return []
  return (await api.listTasks({ status: RUNNING, limit: LARGEST_PAGE })).tasks
}

function replaceList(tasks, asked, page) {
  const named = new Set(tasks.map((task) => task.id))
  batch(() => {
    for (const [id, record] of records) {
      if (named.has(id) || record.touched > asked) continue
      if (id === openId.value) record.isListed = false
      else records.delete(id)
    }
    putListed(tasks, asked)
    nextCursor.value = page.next_cursor
    if (page.counts) counts.value = page.counts
    arrangement.value += 1
  })
}

/** Applies the tasks of an answer, except where something newer than its request has arrived. */
function putListed(tasks, asked) {
  for (const task of tasks) {
    const record = records.get(task.id)
    if (record && record.touched > asked) record.isListed = true
    else put(task, { isListed: true })
  }
}

export async function loadMore(limit = PAGE_SIZE) {
  if (nextCursor.value === null || isLoading.value) return
  const turn = refreshes
  const asked = touches
  isLoading.value = true
  try {
    const page = await api.listTasks({ ...filterNow(), limit, cursor: nextCursor.value })
    if (turn !== refreshes) return
    batch(() => {
      putListed(page.tasks, asked)
      nextCursor.value = page.next_cursor
    })
  } finally {
    if (turn === refreshes) isLoading.value = false
  }
}

/** Reads what is left of the list, a large page at a time. */
export async function loadRest() {
  while (nextCursor.peek() !== null && !isLoading.peek()) await loadMore(LARGEST_PAGE)
}

const filterNow = () => ({ status: statusFilter.value, q: query.value })
const listedCount = () => [...records.values()].filter((record) => record.isListed).length

/** Shows only tasks of one status (null: all) that match `text`. */
export function setFilter({ status = statusFilter.value, text = query.value }) {
  if (status === statusFilter.value && text === query.value) return undefined
  batch(() => {
    statusFilter.value = status
    query.value = text
    for (const record of records.values()) record.isListed &&= belongs(record.task.peek())
    nextCursor.value = null
    arrangement.value += 1
  })
  return refresh({ isNewFilter: true })
}

export async function refreshModels() {
  models.value = await api.fetchModels()
}

export async function refreshSystem() {
  applySystem(await api.fetchSystem())
}

/** Loads a task that is not in the list, and drops one that is no longer there. Throws ApiError. */
export async function loadTask(id) {
  const task = await api.fetchTask(id).catch((error) => {
    if (error.code === 'task_not_found') applyDeleted(id)
    throw error
  })
  batch(() => put(task, { isListed: belongs(task) }))
}
