/**
 * The server's REST API; docs/api.md describes it. Addresses are relative, so the page also works below a path.
 *
 * Every call resolves to the body of the answer or throws an ApiError with the server's code and message.
 */

export class ApiError extends Error {
  /** status: 0 when there was no answer. field: the form field at fault, or null. retryAfterS: seconds, or null. */
  constructor({ code, message, status, field = null, retryAfterS = null }) {
    super(message || code)
    this.name = 'ApiError'
    this.code = code
    this.status = status
    this.field = field
    this.retryAfterS = retryAfterS
  }

  /** Whether the same request may succeed a little later. */
  get isRetryable() {
    const isInUse = ['idempotency_in_flight', 'upload_busy', 'offset_mismatch', 'checksum_mismatch'].includes(this.code)
    return isInUse || [0, 408, 429, 502, 503, 504].includes(this.status)
  }
}

const TASKS = 'api/tasks'
export const taskUrl = (id) => `${TASKS}/${encodeURIComponent(id)}`
export const mediaUrl = (id) => `${taskUrl(id)}/media`
export const transcriptUrl = (id, format) => `${taskUrl(id)}/transcript?format=${format}`

/** more: how subtitles are cut, and what else the call takes; empty values are left out. */
export const downloadUrl = (id, format, more = {}) =>
  `${taskUrl(id)}/transcript?${queryOf({ format, ...more, download: true })}`

/** Transcripts in one archive: those of the tasks `ids`, or of every completed task. cues: how subtitles are cut. */
export const archiveUrl = (format, ids = [], cues = {}) =>
  `api/transcripts.zip?${queryOf({ format, ids: ids.join(','), ...cues })}`

/** fields: how they are cut, of cueFields. */
export const subtitlesUrl = (id, fields) => `${taskUrl(id)}/transcript?${queryOf({ format: 'vtt', ...fields })}`
export const fetchSubtitles = (id, fields) => getText(subtitlesUrl(id, fields))

export const listTasks = (filter) => get(`${TASKS}?${queryOf(filter)}`)
/** The caller's own tasks of the file with this SHA-256, newest first. */
export const findSameFile = (sha256) => get(`${TASKS}?${queryOf({ sha256, limit: 20 })}`).then(({ tasks }) => tasks)
export const fetchTask = (id) => get(taskUrl(id)).then(taskIn)
export const fetchTimeline = (id) => get(`${taskUrl(id)}/timeline`)
export const fetchTranscript = (id) => get(transcriptUrl(id, 'json'))
/** {peaks, secondsPerPeak}, the peaks from 0 to 1. */
export const fetchWaveform = (id) =>
  get(`${taskUrl(id)}/waveform`).then(({ peaks, seconds_per_peak: secondsPerPeak }) => ({
    peaks: Float32Array.from(peaks, (peak) => peak / 255),
    secondsPerPeak,
  }))

/** Why a browser could not play a recording: 'unplayable', 'gone' or 'unreachable'. */
export async function whyNoMedia(id) {
  try {
    const { ok, status } = await fetch(mediaUrl(id), { method: 'HEAD' })
    if (ok) return 'unplayable'
    return status === 404 || status === 410 ? 'gone' : 'unreachable'
  } catch {
    return 'unreachable'
  }
}

/** The text as people have edited it, or the original where nobody has. */
export const fetchEdited = (id) => fetchTranscript(id)
export const fetchOriginal = (id) => get(`${transcriptUrl(id, 'json')}&version=original`)
/** base: the version that the page knows. Resolves to what has changed since. */
export const sendEdits = (id, base, edits) =>
  call('POST', `${taskUrl(id)}/edits`, { base, edits, answer: 'changes' }, isLasting)
/** name: undo or redo. */
export const stepEdits = (id, name, base) => call('POST', `${taskUrl(id)}/edits/${name}`, { base, answer: 'changes' })
/** The history, newest first. filter: {limit?, before?}. */
export const fetchEditPage = (id, filter) => get(`${taskUrl(id)}/edits?${queryOf(filter)}`)
export const findSpeakers = (id, count) => call('POST', `${taskUrl(id)}/speakers`, { num_speakers: count })
/** Batches of uploads, the latest first. */
export const fetchBatches = (limit) => get(`api/batches?${queryOf({ limit })}`)
/** Cancels every task of a batch that is not finished. owner: as an admin is told of it. */
export const cancelBatch = (id, owner) => call('DELETE', `api/batches/${encodeURIComponent(id)}?${queryOf({ owner })}`)
export const fetchModels = () => get('api/models')
export const fetchSystem = () => get('api/system')
/** limits: {max_concurrent_tasks?, max_batch_size?}. Resolves to the state of the system. */
export const setLimits = (limits) => call('PATCH', 'api/system', limits)
export const fetchStorage = () => get('api/system/storage')
export const fetchHistory = (hours) => get(`api/system/history?${queryOf({ hours })}`)
/** filter: {kind?, limit?, before?}. */
export const fetchEvents = (filter) => get(`api/system/events?${queryOf(filter)}`)
export const fetchLog = (limit) => get(`api/system/log?${queryOf({ limit })}`)
export const startModelFetch = (name) => call('POST', `api/models/${encodeURIComponent(name)}/fetch`)
export const cancelTask = (id) => call('POST', `${taskUrl(id)}/cancel`).then(taskIn)
export const retryTask = (id) => call('POST', `${taskUrl(id)}/retry`).then(taskIn)
/** Another sound track of the task's file, as a new task. */
export const transcribeTrack = (id, track) => call('POST', `${taskUrl(id)}/track`, { track }).then(taskIn)
/** changes: options by name. Resolves to the new task of the same file. */
export const transcribeAgain = (id, changes) => call('POST', `${taskUrl(id)}/again`, { options: changes }).then(taskIn)
/** Links for people without an account. Resolves to {shares}. */
export const listShares = (id) => get(`${taskUrl(id)}/shares`)
/** wanted: {days, media}. Resolves to {share, path}; nobody can ask for the path again. */
export const addShare = (id, wanted) => call('POST', `${taskUrl(id)}/shares`, wanted)
export const removeShare = (id, shareId) => call('DELETE', `${taskUrl(id)}/shares/${encodeURIComponent(shareId)}`)
/** wish: {base, segments, model}. Resolves to the task that does these segments again. */
export const redoSegments = (id, wish) => call('POST', `${taskUrl(id)}/edits/retranscribe`, wish).then(taskIn)
export const logOut = () => call('POST', 'logout')
export const deleteTask = (id) => call('DELETE', taskUrl(id))
/** changes: {title?, note?, tags?, priority?}. */
export const changeTask = (id, changes) => call('PATCH', taskUrl(id), changes).then(taskIn)

/** Puts a waiting task directly before or after another of the same priority. */
export const moveTask = (id, { id: other, isAfter }) => changeTask(id, { [isAfter ? 'after' : 'before']: other })

const taskIn = (answer) => answer.task ?? answer

/**
 * Sends one file. fields: option name -> value; empty ones are left out. onProgress: called with 0 to 1.
 * Returns {done, abort()}: `done` resolves to {task, duplicate_of}; after abort() it rejects with the code `aborted`.
 */
export function uploadFile(file, fields, idempotencyKey, onProgress) {
  const form = formOf(fields)
  form.append('file', file, file.name) // Last, so that the server knows the options before the bytes arrive.
  return sendForm(form, idempotencyKey, onProgress)
}

/** Has the server fetch the file at an address; otherwise as uploadFile. */
export const uploadLink = (url, fields, idempotencyKey) => sendForm(formOf({ ...fields, url }), idempotencyKey)

function sendForm(form, idempotencyKey, onProgress = () => {}) {
  const request = new XMLHttpRequest()
  const done = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total)
    request.onload = () => settle(request, resolve, reject)
    request.onerror = () => reject(noAnswer())
    request.onabort = () => reject(new ApiError({ code: 'aborted', status: 0 }))
  })
  request.open('POST', TASKS)
  request.setRequestHeader('Idempotency-Key', idempotencyKey)
  request.send(form)
  return { done, abort: () => request.abort() }
}

function formOf(fields) {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) {
    if (value !== '' && value !== null && value !== undefined) form.append(name, String(value))
  }
  return form
}

function settle(request, resolve, reject) {
  const body = parsed(request.responseText)
  if (request.status >= 200 && request.status < 300) resolve(body)
  else reject(errorFrom(request.status, request.responseText, request.getResponseHeader('Retry-After')))
}

/** Makes a task of a resumable upload whose bytes are all there. Resolves to the answer's headers. */
export async function completeUpload(url, size) {
  const headers = {
    'Tus-Resumable': '1.0.0',
    'Upload-Offset': String(size),
    'Content-Type': 'application/offset+octet-stream',
  }
  const response = await fetch(url, { method: 'PATCH', headers }).catch(() => {
    throw noAnswer()
  })
  if (!response.ok) throw errorFrom(response.status, await response.text(), response.headers.get('Retry-After'))
  return response.headers
}

/** How far a resumable upload is: {offset, taskId}, taskId null until it is a task; null when it is not known here. */
export async function findUpload(url) {
  const { ok, headers } = await askTus('HEAD', url)
  return ok ? { offset: Number(headers.get('Upload-Offset')), taskId: headers.get('Task-Id') } : null
}

/** Gives a resumable upload up; without an answer it expires by itself. */
export const removeUploadAt = (url) => askTus('DELETE', url)

const askTus = (method, url) =>
  fetch(url, { method, headers: { 'Tus-Resumable': '1.0.0' } }).catch(() => ({ ok: false }))

const get = (url) => call('GET', url)
const getText = (url) => ask('GET', url)
/** Browsers finish a request after its page was closed only if there is not much in it. */
const isLasting = (body) => body.length < 30_000

const call = async (method, url, body, mayOutliveThePage) => parsed(await ask(method, url, body, mayOutliveThePage))

/** Resolves to the text of the answer. */
async function ask(method, url, body, mayOutliveThePage = () => false) {
  const options = { method, headers: { Accept: 'application/json' } }
  if (body !== undefined) {
    options.headers['Content-Type'] = 'application/json'
    options.body = JSON.stringify(body)
    options.keepalive = mayOutliveThePage(options.body)
  }
  let response
  try {
    response = await fetch(url, options)
  } catch {
    throw noAnswer()
  }
  const text = await response.text()
  if (!response.ok) throw errorFrom(response.status, text, response.headers.get('Retry-After'))
  return text
}

/** Told when the server no longer knows who uses the page: the session ended, or its key was revoked. */
export const LOGGED_OUT = 'logged-out'

export const noAnswer = () => new ApiError({ code: 'network', status: 0 })

/** text: the answer's body, whatever it is. */
export function errorFrom(status, text, retryAfter) {
  const { code = `http_${status}`, message = '', field = null } = parsed(text)?.error ?? {}
  if (status === 401) globalThis.dispatchEvent?.(new Event(LOGGED_OUT))
  return new ApiError({ code, message, status, field, retryAfterS: secondsOf(retryAfter) })
}

/** Retry-After is a number of seconds or a date. */
export function secondsOf(retryAfter, now = Date.now()) {
  if (!retryAfter) return null
  const seconds = Number(retryAfter)
  if (Number.isFinite(seconds)) return Math.max(0, seconds)
  const date = Date.parse(retryAfter)
  return Number.isNaN(date) ? null : Math.max(0, (date - now) / 1000)
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function queryOf(filter) {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(filter)) if (value) query.set(name, value)
  return query
}
