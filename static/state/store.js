/**
 * What the page knows of the server: the list of tasks, the system and the models, as signals.
 *
 * The list is read in parts, each a page at a time as far as the person scrolls: the waiting line from its front, and what
 * is finished from the latest on. What is searched for, or put in another order, is one part in the server's order.
 */
import { batch, computed, signal } from '@preact/signals'
import * as api from '../api.js'
import { openId } from '../util/address.js'
import { LINE, NO_FILTER, narrowedBy, passes, queryOf } from './list-filter.js'
import {
  applyDeleted,
  arrangement,
  isOvertaken,
  put,
  putAnswer,
  rearrange,
  records,
  tellIfJustEnded,
  touchesNow,
} from './records.js'
import { FINISHED, isFinished, isRunning, isWaiting, REFUSED, RUNNING, WAITING } from './task.js'

export { applyDeleted, applyProgress, followEnds, taskOf, touchesNow, wasDeleted } from './records.js'

const PAGE_SIZE = 50
const LARGEST_PAGE = 200

export const statusFilter = signal(null)
export const query = signal('')
/** Beside the status and the search; see list-filter.js. */
export const filter = signal(NO_FILTER)
/** How many tasks of each status there are. */
export const counts = signal({})
export const totalCount = computed(() => sumOf(counts.value))
/** The same of those that pass the search and the filter. */
export const foundCounts = signal(null)
/** {part: cursor} of the parts that have more than is loaded. */
export const cursors = signal({})
export const isLoading = signal(true)
export const loadError = signal(null)
export const system = signal(null)
export const models = signal(null)

const sumOf = (numbers) => Object.values(numbers).reduce((sum, count) => sum + count, 0)

/** Whether the list stands in the server's order instead of the line's. */
export const isFlat = computed(() => query.value !== '' || filter.value.sort !== LINE)
/** Whether anything but the status narrows the list. */
export const isNarrowed = computed(() => query.value !== '' || narrowedBy(filter.value).length > 0)

/** The tasks of the list, by part: `found` alone where it stands in the server's order. */
export const groups = computed(() => {
  void arrangement.value // Read, so that dependents are updated.
  const listed = [...records.values()].filter((record) => record.isListed && passesStatus(record.task.peek()))
  if (isFlat.value) return { running: [], waiting: [], finished: [], found: tasksOf(listed.sort(byRank)) }
  const shown = tasksOf(listed)
  return {
    running: shown.filter(isRunning).sort(byStart),
    waiting: shown.filter(isWaiting).sort(byTurn),
    finished: shown.filter(isFinished).sort(byEnd),
    found: [],
  }
})

export const shownIds = computed(() => {
  const { running, waiting, finished, found } = groups.value
  return [...running, ...waiting, ...finished, ...found].map((task) => task.id)
})

const tasksOf = (listed) => listed.map((record) => record.task.peek())
const byAge = (a, b) => (b.created_at < a.created_at ? -1 : b.created_at > a.created_at ? 1 : b.id < a.id ? -1 : 1)
const byStart = (a, b) => ((a.started_at ?? '') < (b.started_at ?? '') ? -1 : 1)
const byTurn = (a, b) => (a.position ?? Infinity) - (b.position ?? Infinity) || byAge(b, a)
const byEnd = (a, b) => (a.finished_at === b.finished_at ? byAge(a, b) : a.finished_at < b.finished_at ? 1 : -1)
const byRank = (a, b) => a.rank - b.rank
const passesStatus = (task) => statusFilter.value === null || task.status === statusFilter.value

/** Whether the list shows the task, as it is filtered and loaded now. */
export const isListed = (id) => Boolean(records.get(id)?.isListed) && passesStatus(records.get(id).task.peek())

/** Applies the task of the answer to a request about one task, and resolves to it. request: has just been sent. */
export async function applyAnswer(request) {
  const asked = touchesNow()
  const task = await request
  applyAnswered(task, asked)
  return task
}

/** Where the answer has more than the task. asked: see `isOvertaken`. */
export function applyAnswered(task, asked) {
  if (!isOvertaken(task.id, asked)) applyTask(task)
}

function applyTask(task) {
  // What comes by itself to a list in the server's order stands first, until the list is read again.
  const rank = isFlat.peek() && !records.has(task.id) ? -touchesNow() - 1 : null
  batch(() => put(task, { isListed: belongs(task), rank }))
}

/** Applies a task from the live feed. One that the page did not have is news too when it has only just ended. */
export function applyNews(task) {
  const isKnown = records.has(task.id)
  applyTask(task)
  if (!isKnown) tellIfJustEnded(task)
}

/** Whether a task that arrives by itself belongs in the list as it is filtered and loaded now. */
function belongs(task) {
  if (!passesStatus(task) || !passes(task, filter.value)) return false
  const name = `${task.title ?? ''} ${task.filename}`.toLowerCase()
  if (query.value && !name.includes(query.value.toLowerCase())) return false
  if (isRunning(task) || isFlat.value) return true
  return isWaiting(task) ? isInLoadedLine(task) : isInLoadedEnds(task)
}

function isInLoadedLine(task) {
  return !cursors.value.waiting || (task.position ?? Infinity) <= listedTasks(isWaiting).length
}

/** The end that is not loaded is older than all that is. */
function isInLoadedEnds(task) {
  if (!cursors.value.finished) return true
  const listed = listedTasks(isFinished)
  return listed.length === 0 || listed.some((one) => one.finished_at <= task.finished_at)
}

const listedTasks = (test) => tasksOf([...records.values()].filter((record) => record.isListed)).filter(test)

let systemsTold = 0

export function applySystem(state) {
  systemsTold += 1
  batch(() => {
    system.value = state
    if (state.counts) counts.value = state.counts
  })
}

/** The parts of the list as it is filtered now, with the query of each. */
function partsNow() {
  const status = statusFilter.peek()
  if (status === REFUSED) return {}
  const asked = { ...queryOf(filter.peek()), q: query.peek(), status }
  if (isFlat.peek()) return { found: { ...asked, ...orderNow() } }
  const parts = {}
  if (status === null || WAITING.includes(status)) parts.waiting = { ...asked, sort: 'line' }
  if (status === null || FINISHED.includes(status)) parts.finished = { ...asked, sort: 'finished' }
  return parts
}

function orderNow() {
  const { sort, order } = filter.peek()
  return sort === LINE ? {} : { sort, order }
}

let refreshes = 0

/** Reads the list again as far as it was loaded, and all running tasks. Of overlapping calls only the newest counts. */
export async function refresh({ isNewFilter = false } = {}) {
  const turn = ++refreshes
  const asked = { touches: touchesNow(), systems: systemsTold }
  isLoading.value = true
  try {
    const parts = Object.entries(partsNow())
    const reads = parts.map(([name, asking]) => readPages(name, asking, isNewFilter ? 0 : loadedOf(name)))
    const [running, ...pages] = await Promise.all([readRunning(), ...reads])
    if (turn !== refreshes) return
    replaceList(asked, running, Object.fromEntries(parts.map(([name], index) => [name, pages[index]])))
    loadError.value = null
  } catch (error) {
    if (error.name !== 'ApiError') throw error
    if (turn === refreshes) loadError.value = error
  } finally {
    if (turn === refreshes) isLoading.value = false
  }
}

const loadedOf = (name) => groups.peek()[name].length

async function readPages(name, asking, loaded) {
  const wanted = Math.max(PAGE_SIZE, loaded)
  const tasks = []
  let page = { next_cursor: null }
  do {
    const limit = Math.min(LARGEST_PAGE, wanted - tasks.length)
    page = await readPage(name, { ...asking, limit, cursor: page.next_cursor })
    tasks.push(...page.tasks)
  } while (page.next_cursor && tasks.length < wanted)
  return { ...page, tasks }
}

/** Tasks that have not ended come last in the order of their ends; where they begin, the finished ones are over. */
async function readPage(name, asking) {
  const page = await api.listTasks(asking)
  if (name !== 'finished') return page
  const tasks = page.tasks.filter(isFinished)
  return { ...page, tasks, next_cursor: tasks.length < page.tasks.length ? null : page.next_cursor }
}

/** All of them are always shown. */
async function readRunning() {
  if (isFlat.peek() || ![null, RUNNING].includes(statusFilter.peek())) return { tasks: [] }
  return api.listTasks({ ...queryOf(filter.peek()), status: RUNNING, limit: LARGEST_PAGE })
}

function replaceList(asked, running, pages) {
  const all = [running, ...Object.values(pages)]
  const named = new Set(all.flatMap(({ tasks }) => tasks.map((task) => task.id)))
  batch(() => {
    for (const [id, record] of records) {
      if (named.has(id) || record.touched > asked.touches) continue
      if (id === openId.peek()) record.isListed = false
      else records.delete(id)
    }
    for (const { tasks } of all) putAnswers(tasks, asked.touches)
    cursors.value = Object.fromEntries(Object.entries(pages).map(([name, page]) => [name, page.next_cursor]))
    takeCounts(all, asked.systems)
    rearrange()
  })
}

/** first: the rank of the first of them. */
function putAnswers(tasks, asked, first = 0) {
  for (const [index, task] of tasks.entries()) putAnswer(task, asked, { isListed: true, rank: first + index })
}

/** Those of the system may be newer. systems: how many were told when the answers were asked for. */
function takeCounts(answers, systems) {
  const told = answers.find((answer) => answer.counts)?.counts
  if (!told) return
  foundCounts.value = isNarrowed.peek() ? told : null
  if (!isNarrowed.peek() && systems === systemsTold) counts.value = told
}

/** Reads the front of the line and what runs again: every start moves up all that wait, without an event for each. */
export async function refreshLine() {
  const part = partsNow().waiting
  if (!part) return
  const turn = refreshes
  const asked = { touches: touchesNow(), systems: systemsTold }
  const limit = loadedOf('waiting') > PAGE_SIZE ? LARGEST_PAGE : PAGE_SIZE
  const [page, running] = await Promise.all([api.listTasks({ ...part, limit }), readRunning()])
  if (turn !== refreshes) return
  batch(() => {
    moveUpRest(page.tasks)
    for (const task of [...page.tasks, ...running.tasks]) putAnswer(task, asked.touches, { isListed: true })
    takeCounts([page], asked.systems)
  })
}

/** The places of those behind the page, which have moved as far as the page's last one. */
function moveUpRest(tasks) {
  const last = tasks.at(-1)
  const before = last && records.get(last.id)?.task.peek()
  const moved = before?.position && last.position ? last.position - before.position : 0
  if (moved === 0) return
  const read = new Set(tasks.map((task) => task.id))
  for (const [id, { task }] of records) {
    const known = task.peek()
    if (read.has(id) || !isWaiting(known) || !(known.position > before.position)) continue
    task.value = { ...known, position: known.position + moved }
  }
}

/** part: of `cursors`. */
export async function loadMore(part, limit = PAGE_SIZE) {
  const cursor = cursors.peek()[part]
  if (!cursor || isLoading.peek()) return
  const turn = refreshes
  const asked = touchesNow()
  isLoading.value = true
  try {
    const page = await readPage(part, { ...partsNow()[part], limit, cursor })
    if (turn !== refreshes) return
    const first = loadedOf(part)
    batch(() => {
      putAnswers(page.tasks, asked, first)
      cursors.value = { ...cursors.peek(), [part]: page.next_cursor }
      rearrange()
    })
  } finally {
    if (turn === refreshes) isLoading.value = false
  }
}

/** Reads what is left of a part, a large page at a time. */
export async function loadRest(part) {
  while (cursors.peek()[part] && !isLoading.peek()) await loadMore(part, LARGEST_PAGE)
}

/** Shows only tasks of one status (null: all) that match `text` and pass the filter. */
export function setFilter({ status = statusFilter.peek(), text = query.peek(), more = filter.peek() }) {
  if (status === statusFilter.peek() && text === query.peek() && more === filter.peek()) return undefined
  batch(() => {
    statusFilter.value = status
    query.value = text
    filter.value = more
    for (const record of records.values()) record.isListed &&= belongs(record.task.peek())
    cursors.value = {}
    rearrange()
  })
  return refresh({ isNewFilter: true })
}

/** Shows everything in the usual order. */
export const showAll = () => setFilter({ status: null, text: '', more: NO_FILTER })

export async function refreshModels() {
  models.value = await api.fetchModels()
}

export async function refreshSystem() {
  const systems = systemsTold
  const state = await api.fetchSystem()
  if (systems === systemsTold) applySystem(state)
}

/** Loads a task that is not in the list, and drops one that is no longer there. Throws ApiError. */
export async function loadTask(id) {
  const asked = touchesNow()
  const task = await api.fetchTask(id).catch((error) => {
    if (error.code === 'task_not_found') applyDeleted(id)
    throw error
  })
  if (!isOvertaken(id, asked)) batch(() => put(task, { isListed: belongs(task) }))
}
