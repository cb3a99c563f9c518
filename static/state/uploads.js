/**
 * Files on their way to the server, a few at a time. When the server is busy or the network is gone, an upload waits and
 * then goes on where it stopped; a rejected one stays on the page with the reason. A file that was sent before is not
 * transcribed again without asking.
 */
import { computed, effect, signal, batch as together } from '@preact/signals'
import { ApiError, deleteTask, findSameFile } from '../api.js'
import { formatBytes } from '../text/format.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'
import { openTask } from '../util/address.js'
import { sha256Of } from '../util/file-hash.js'
import { linkName } from '../util/link-name.js'
import { randomKey } from '../util/random-key.js'
import { batchName } from './batch-totals.js'
import { FormUpload } from './form-upload.js'
import { clearOptionErrors, showOptionError } from './option-errors.js'
import { keepRefused, refusedBefore } from './refused-files.js'
import { ENDPOINT, fitsHeader, ResumableUpload } from './resumable-upload.js'
import {
  applyAnswered,
  applyDeleted,
  isFlat,
  isListed,
  isNarrowed,
  showAll,
  statusFilter,
  system,
  touchesNow,
} from './store.js'
import { toast, toastError } from './toasts.js'
import { giveUp, isFileOf, unfinishedUploads } from './unfinished.js'
import { chosenFields } from './upload-options.js'

const MOST_AT_ONCE = 3
const LONGEST_WAIT_S = 60

let lastKey = 0

/**
 * [{key, file, fields, batch, state}], where `state` is a signal of {phase, progress, error, retryAt}, and `batch` is what
 * files that were dropped together share, null for a single one: {id, name, tally}, `tally` a signal of {count, bytes,
 * arrived, arrivedBytes}. A file that was refused before the page was loaded anew is only {name, size}: `isGone`.
 *
 * A link has a `url`, of which the server fetches the file: its `file` is only {name, size}.
 *
 * phase: queued, uploading (fetching for a link), checking, and then the upload is removed and its task appears; or waiting until it is sent
 * again at retryAt; or refused; or known: the file was sent before as the task earlierId, and the person is asked what
 * to do; or unfinished: an earlier visit of the page has left it, and it goes on when its file is chosen again. newId: the task that it has become already, when that could be told only afterwards.
 */
export const uploads = signal(refusedBefore().map(goneUpload))
/** Grows whenever an upload enters another phase. */
const phases = signal(0)

export const activeCount = computed(() => {
  void phases.value // Read, so that dependents are updated.
  return uploads.value.filter((upload) => !isAtRest(upload)).length
})
const refused = computed(() => {
  void phases.value
  return uploads.value.filter((upload) => upload.state.peek().phase === 'refused')
})
export const refusedCount = computed(() => refused.value.length)

effect(() => {
  const noted = ({ file: { name, size }, fields: { model }, state }) => ({
    name,
    size,
    model,
    error: state.peek().error,
  })
  keepRefused(refused.value.map(noted))
})

/** How many of the latest uploads became tasks that the list does not show, because of its filter or search. */
export const hiddenArrivals = signal(0)

const isAtRest = (upload) => ['refused', 'known', 'unfinished'].includes(upload.state.peek().phase)

/** The first file of the latest drop, to be scrolled into view: {key, taskId}. taskId is null until there is a task. */
export const arrival = signal(null)

/**
 * fields: the form fields that every file is sent with. onGone: called once a file is a task, or the person has given its
 * upload up.
 */
export function addFiles(files, fields, { onGone = null } = {}) {
  clearOptionErrors()
  const fresh = [...files].filter((file) => !goOnWith(file, onGone))
  const batch = fresh.length > 1 ? newBatch(fresh) : null
  const added = fresh.map((file) => newUpload(file, fields, batch, onGone))
  uploads.value = [...uploads.value, ...added]
  if (added.length) arrival.value = { key: added[0].key, batchId: batch?.id ?? null, taskId: null }
  for (const upload of added) {
    const error = errorBeforeSending(upload.file)
    if (error) refuse(upload, error)
  }
  sendNext()
}

/** Shows what an earlier visit of the page has left. */
export async function showUnfinished() {
  const found = await unfinishedUploads(ENDPOINT)
  uploads.value = [...uploads.value, ...found.map(unfinishedUpload)]
}

function unfinishedUpload(begun) {
  const { name, size, offset, fields } = begun
  const upload = newUpload({ name, size }, fields, null)
  upload.state.value = { phase: 'unfinished', progress: offset / size }
  return Object.assign(upload, { begun, isAsked: true, way: { abort: () => giveUp(begun) } })
}

/** Goes on with the unfinished upload of this file, with the options it was begun with, if there is one. */
export function goOnWith(file, onGone) {
  const isOf = ({ begun, state }) => begun && state.peek().phase === 'unfinished' && isFileOf(file, begun)
  const upload = uploads.peek().find(isOf)
  if (!upload) return false
  Object.assign(upload, { file, onGone, way: null })
  sendAgain(upload)
  return true
}

/** url: of a file that the server fetches itself. */
export function addLink(url, fields) {
  clearOptionErrors()
  const upload = { ...newUpload({ name: linkName(url), size: 0 }, fields, null), url }
  uploads.value = [...uploads.value, upload]
  arrival.value = { key: upload.key, batchId: null, taskId: null }
  sendNext()
}

function newBatch(files) {
  const bytes = files.reduce((sum, file) => sum + file.size, 0)
  const tally = signal({ count: files.length, bytes, arrived: 0, arrivedBytes: 0 })
  return { id: randomKey(), name: batchName(files.map((file) => file.name)), tally }
}

/** A file that was refused before the page was loaded anew. */
function goneUpload({ name, size, model, error }) {
  const state = signal({ phase: 'refused', progress: 0, error })
  return { key: ++lastKey, file: { name, size }, fields: { model }, batch: null, isGone: true, state }
}

const MOST_NAME_CHARACTERS = 200

function batchFields(fields, batch) {
  if (batch === null) return fields
  return { ...fields, batch: batch.id, batch_name: [...batch.name].slice(0, MOST_NAME_CHARACTERS).join('') }
}

function newUpload(file, fields, batch, onGone) {
  return {
    key: ++lastKey,
    file,
    fields: batchFields(fields, batch),
    batch,
    onGone,
    state: signal({ phase: 'queued', progress: 0 }),
    attempt: 0,
    isAsked: false, // Whether the person was asked if a file that was sent before is to be transcribed again.
    way: null,
  }
}

/** What the server would only reject after all bytes had been sent. */
function errorBeforeSending(file) {
  if (file.size === 0) return { code: 'empty_file' }
  const limit = maxUploadBytes()
  if (limit && file.size > limit) {
    return {
      code: 'too_large',
      message: t('error.too_large_limit', { size: formatBytes(file.size), limit: formatBytes(limit) }),
    }
  }
  return null
}

export const maxUploadBytes = () => (system.value?.settings?.MAX_UPLOAD_MB ?? 0) * 1e6

function sendNext() {
  const inPhase = (...names) => uploads.value.filter((upload) => names.includes(upload.state.peek().phase))
  const room = MOST_AT_ONCE - inPhase('uploading', 'fetching', 'checking').length
  for (const upload of inPhase('queued').slice(0, Math.max(0, room))) send(upload)
}

async function send(upload) {
  setState(upload, { phase: upload.url ? 'fetching' : 'uploading', progress: upload.state.peek().progress })
  try {
    const earlierId = await findEarlier(upload)
    if (!uploads.peek().includes(upload)) return // It was removed meanwhile.
    if (earlierId) return ask(upload, { earlierId })
    upload.way ??= wayFor(upload)
    const asked = touchesNow()
    const { task, duplicateOf } = await upload.way.send()
    applyAnswered(task, asked)
    arrive(upload, task, duplicateOf)
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    if (error.code !== 'aborted') fail(upload, error)
  } finally {
    sendNext()
  }
}

/** The newest task of the same file that did not fail, as far as that can be told before sending; else null. */
async function findEarlier(upload) {
  if (upload.isAsked || upload.url) return null
  const sha256 = await sha256Of(upload.file)
  if (sha256 === null) return null
  upload.isAsked = true
  const tasks = await findSameFile(sha256).catch(() => []) // Sending it says what is wrong.
  return tasks.find(({ status }) => !['failed', 'cancelled'].includes(status))?.id ?? null
}

function arrive(upload, task, duplicateOf) {
  upload.way = null
  if (!isListed(task.id)) hiddenArrivals.value += 1
  if (arrival.peek()?.key === upload.key) arrival.value = { ...arrival.peek(), taskId: task.id }
  count(upload, { arrived: 1, arrivedBytes: upload.file.size })
  if (duplicateOf && !upload.isAsked) ask(upload, { earlierId: duplicateOf, newId: task.id })
  else removeUpload(upload)
}

/** changes: what to add to the figures of the upload's batch. */
function count({ batch }, changes) {
  if (batch === null) return
  const tally = { ...batch.tally.peek() }
  for (const [name, change] of Object.entries(changes)) tally[name] += change
  batch.tally.value = tally
}

function ask(upload, { earlierId, newId = null }) {
  setState(upload, { phase: 'known', progress: 0, earlierId, newId })
}

/** The person wants the earlier task's text; the new task, if there is one already, is not wanted. */
export async function openEarlier(upload) {
  const { earlierId, newId } = upload.state.peek()
  if (newId === null) takeBack(upload)
  else removeUpload(upload)
  openTask(earlierId)
  if (newId === null) return
  try {
    await deleteTask(newId)
    applyDeleted(newId)
  } catch (error) {
    toastError(error)
  }
}

/** The person wants it transcribed again. */
export function transcribeAgain(upload) {
  upload.isAsked = true
  if (upload.state.peek().newId === null) sendAgain(upload)
  else removeUpload(upload)
}

export const transcribeAllAgain = (asked) => asked.forEach(transcribeAgain)

/** Ends the filter and the search that hide what has arrived. */
export const showEverything = showAll
effect(() => {
  if (statusFilter.value === null && !isNarrowed.value && !isFlat.value) hiddenArrivals.value = 0
})

/** An object that sends the file and can be asked to again: {send(), abort()}. */
function wayFor(upload) {
  const { file, fields, url } = upload
  const onProgress = (share) => setState(upload, { phase: share >= 1 ? 'checking' : 'uploading', progress: share })
  return !url && fitsHeader(file, fields)
    ? new ResumableUpload(file, fields, onProgress)
    : new FormUpload(upload, onProgress)
}

function fail(upload, error) {
  if (!error.isRetryable) {
    const said = { code: error.code, message: error.message }
    upload.isOptionAtFault = Boolean(error.field) && !['file', 'url'].includes(error.field)
    if (upload.isOptionAtFault) showOptionError(error.field, said)
    return refuse(upload, said)
  }
  upload.attempt += 1
  const delayS = error.retryAfterS ?? Math.min(LONGEST_WAIT_S, 2 ** upload.attempt) * (0.75 + Math.random() / 2)
  upload.timer = setTimeout(() => sendAgain(upload), delayS * 1000)
  return setState(upload, {
    phase: 'waiting',
    progress: upload.state.peek().progress,
    error: { code: error.code, message: error.message },
    retryAt: Date.now() + delayS * 1000,
  })
}

function refuse(upload, error) {
  upload.way = null
  setState(upload, { phase: 'refused', progress: 0, error })
  toast(errorText(error), { tone: 'error', title: t('upload.refused', { name: upload.file.name }) })
}

export function sendAgain(upload) {
  if (upload.isOptionAtFault) upload.fields = batchFields(chosenFields(), upload.batch) // As the person has put them right meanwhile.
  upload.isOptionAtFault = false
  clearTimeout(upload.timer)
  setState(upload, { phase: 'queued', progress: upload.state.peek().progress })
  sendNext()
}

/** The person takes an upload back: it is removed from the page, and aborted if it is under way. */
export const takeBack = (upload) => takeBackAll([upload])

export function takeBackAll(unwanted) {
  const gone = new Set(unwanted)
  together(() => {
    uploads.value = uploads.value.filter((upload) => !gone.has(upload))
    for (const upload of gone) count(upload, { count: -1, bytes: -upload.file.size })
  })
  for (const upload of gone) {
    clearTimeout(upload.timer)
    upload.way?.abort()
    upload.onGone?.()
  }
  sendNext()
}

export const takeBackRefused = () => takeBackAll(refused.peek())

function removeUpload(upload) {
  clearTimeout(upload.timer)
  uploads.value = uploads.value.filter((other) => other !== upload)
  upload.onGone?.()
  sendNext()
}

function setState(upload, state) {
  const isNewPhase = upload.state.peek().phase !== state.phase
  upload.state.value = state
  if (isNewPhase) phases.value += 1
}

/** Asks before the page is left during an upload, and sends waiting files as soon as the network is back. */
export function guardUploads() {
  addEventListener('beforeunload', (event) => activeCount.value > 0 && event.preventDefault())
  addEventListener('online', () => {
    for (const upload of uploads.value) if (upload.state.peek().phase === 'waiting') sendAgain(upload)
  })
}
