/**
 * Files on their way to the server, a few at a time. Each keeps one Idempotency-Key, so that a lost answer does not lead
 * to a second task. When the server is busy or the network is gone, an upload waits and is sent again; a rejected one
 * stays on the page with the reason.
 */
import { computed, signal } from '@preact/signals'
import { ApiError, uploadFile } from '../api.js'
import { formatBytes } from '../text/format.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'
import { applyTask, system } from './store.js'
import { toast } from './toasts.js'

const MOST_AT_ONCE = 3
const LONGEST_WAIT_S = 60

/**
 * [{key, file, fields, state}], where `state` is a signal of {phase, progress, error, retryAt}.
 *
 * phase: queued, uploading, checking, and then the upload is removed and its task appears; or waiting until it is sent
 * again at retryAt; or refused.
 */
export const uploads = signal([])
/** Grows whenever an upload enters another phase. */
const phases = signal(0)

export const activeCount = computed(() => {
  void phases.value // Read, so that dependents are updated.
  return uploads.value.filter((upload) => upload.state.peek().phase !== 'refused').length
})
export const refusedCount = computed(() => uploads.value.length - activeCount.value)

/** The first file of the latest drop, to be scrolled into view: {key, taskId}. taskId is null until there is a task. */
export const arrival = signal(null)

let lastKey = 0

/** fields: the form fields that every file is sent with. */
export function addFiles(files, fields) {
  const added = [...files].map((file) => newUpload(file, fields))
  uploads.value = [...uploads.value, ...added]
  if (added.length) arrival.value = { key: added[0].key, taskId: null }
  for (const upload of added) {
    const error = errorBeforeSending(upload.file)
    if (error) refuse(upload, error)
  }
  sendNext()
}

function newUpload(file, fields) {
  return {
    key: ++lastKey,
    idempotencyKey: randomKey(),
    file,
    fields,
    state: signal({ phase: 'queued', progress: 0 }),
    attempt: 0,
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
  const room = MOST_AT_ONCE - inPhase('uploading', 'checking').length
  for (const upload of inPhase('queued').slice(0, Math.max(0, room))) send(upload)
}

async function send(upload) {
  setState(upload, { phase: 'uploading', progress: 0 })
  const { done, abort } = uploadFile(upload.file, upload.fields, upload.idempotencyKey, (share) =>
    setState(upload, { phase: share >= 1 ? 'checking' : 'uploading', progress: share }),
  )
  upload.abort = abort
  try {
    const { task } = await done
    applyTask(task)
    removeUpload(upload)
    if (arrival.peek()?.key === upload.key) arrival.value = { key: upload.key, taskId: task.id }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    if (error.code !== 'aborted') fail(upload, error)
  } finally {
    sendNext()
  }
}

function fail(upload, error) {
  if (!error.isRetryable) return refuse(upload, { code: error.code, message: error.message })
  upload.attempt += 1
  const delayS = error.retryAfterS ?? Math.min(LONGEST_WAIT_S, 2 ** upload.attempt) * (0.75 + Math.random() / 2)
  upload.timer = setTimeout(() => sendAgain(upload), delayS * 1000)
  return setState(upload, {
    phase: 'waiting',
    progress: 0,
    error: { code: error.code, message: error.message },
    retryAt: Date.now() + delayS * 1000,
  })
}

function refuse(upload, error) {
  setState(upload, { phase: 'refused', progress: 0, error })
  toast(errorText(error), { tone: 'error', title: t('upload.refused', { name: upload.file.name }) })
}

export function sendAgain(upload) {
  clearTimeout(upload.timer)
  setState(upload, { phase: 'queued', progress: 0 })
  sendNext()
}

/** Removes an upload from the page, and aborts it if it is under way. */
export function removeUpload(upload) {
  clearTimeout(upload.timer)
  uploads.value = uploads.value.filter((other) => other !== upload)
  upload.abort?.()
  sendNext()
}

export function removeRefused() {
  uploads.value = uploads.value.filter((upload) => upload.state.peek().phase !== 'refused')
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

/** crypto.randomUUID exists only on https and localhost. */
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
