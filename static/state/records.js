/**
 * The tasks that the page knows, as signals.
 *
 * Answers and events may overtake each other. Every record therefore remembers when it was last touched, and an answer
 * does not overwrite what arrived after its request was sent: it may be of before that, and what it says of a task that
 * has ended meanwhile would stand for good.
 */
import { batch, signal } from '@preact/signals'
import { isFinished, isRunning } from './task.js'
import { forgetTranscript, resetTranscript } from './transcripts.js'

/** What ended within this time has just ended; longer than clocks differ and events take. */
const JUST_MS = 60_000

/** id -> {task, touched, seq, isListed, rank} of every task on the page, where `task` is a signal. */
export const records = new Map()
/** Grows when the members of the list or their order may have changed. */
export const arrangement = signal(0)
let touches = 0
/** An answer that was under way when its task was deleted must not bring the task back. */
const deletedIds = new Set()
let tellEnd = () => {}

export const rearrange = () => (arrangement.value += 1)
/** What to give to `putAnswer` with the answer to a request that is sent now. */
export const touchesNow = () => touches

/** listener: called with every task that has just come to its end. */
export const followEnds = (listener) => (tellEnd = listener)

/** The signal of a task, or undefined when the page does not have it. Once the task is deleted the signal holds null. */
export const taskOf = (id) => {
  const record = records.get(id)
  if (!record) void arrangement.value // Read, so that dependents are told when it comes.
  return record?.task
}

export const wasDeleted = (id) => deletedIds.has(id)

/**
 * rank: its place in a list that the server has put in order; null leaves it as it is. match: where a search found it,
 * which only the answer to one says; without it, it stays as it is.
 */
export function put(task, { isListed, rank = null, match = records.get(task.id)?.task.peek()?.match }) {
  if (deletedIds.has(task.id)) return
  const record = records.get(task.id) ?? { task: signal(null), seq: 0, isListed: false, rank: 0 }
  const before = record.task.peek()
  if (isRestarted(task, before)) {
    record.seq = 0
    resetTranscript(task.id)
  }
  const isPlaced =
    before !== null && record.isListed === (record.isListed || isListed) && hasSamePlace(task, before, record, rank)
  record.touched = ++touches
  record.isListed ||= isListed
  record.rank = rank ?? record.rank
  const speed = isRunning(task) ? (before?.speed ?? null) : null
  record.task.value = { ...task, match, speed, receivedAt: Date.now() }
  records.set(task.id, record)
  if (!isPlaced) rearrange()
  if (before && !isFinished(before) && isFinished(task)) tellEnd(task)
}

const PLACED_BY = ['status', 'position', 'started_at', 'created_at', 'finished_at']

/** Whether nothing has changed that decides where in the list a task stands. */
const hasSamePlace = (task, before, record, rank) =>
  (rank === null || rank === record.rank) && PLACED_BY.every((name) => task[name] === before[name])

function isRestarted(task, before) {
  return (
    before !== null &&
    !isFinished(task) &&
    (task.progress === 0 || task.progress < before.progress - 1e-6) &&
    before.progress > 0
  )
}

/** Whether something newer of the task than the request of an answer has arrived. asked: `touchesNow` when it was sent. */
export const isOvertaken = (id, asked) => records.get(id)?.touched > asked

/** Applies a task of a list, except where it was overtaken. */
export function putAnswer(task, asked, place) {
  const match = task.match ?? null
  if (!isOvertaken(task.id, asked)) return put(task, { ...place, match })
  const record = records.get(task.id)
  record.task.value = { ...record.task.peek(), match }
  record.isListed = true
  record.rank = place.rank ?? record.rank
  return undefined
}

/** Tells of a task from the live feed that the page did not have, if it has only just ended. */
export function tellIfJustEnded(task) {
  if (isFinished(task) && Math.abs(Date.now() - Date.parse(task.finished_at)) < JUST_MS) tellEnd(task)
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
    rearrange()
    if (record) record.task.value = null
  })
}
