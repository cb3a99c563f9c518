/**
 * One file on its way to /api/uploads by tus. What has arrived stays there, so that it goes on after a lost connection,
 * and after a reload when the same file is chosen again (see unfinished.js). Where it was going is kept in this browser's
 * localStorage only.
 */
import { ApiError, completeUpload, errorFrom, fetchTask, noAnswer } from '../api.js'
import { Upload } from '../util/tus.js'
import { fingerprintOf, holdUpload } from './unfinished.js'

export const ENDPOINT = new URL('api/uploads', document.baseURI).href
/** Time for the server to see that the connection is gone. Afterwards the page shows that it waits, and for how long. */
const SHORT_DELAYS_MS = [500, 1500, 4000]
/** Of one header line, below what servers and proxies accept; a longer prompt goes by the simple form. */
const MOST_METADATA_BYTES = 7000

/** Which upload of this page sends to which address: a second row of the same file must not join in. */
const senders = new Map()

/** Whether the options fit in the header that they have to be sent in. */
export function fitsHeader(file, fields) {
  const bytes = new TextEncoder().encode(Object.values(metadataOf(file, fields)).join('')).length
  return (bytes * 4) / 3 < MOST_METADATA_BYTES
}

export class ResumableUpload {
  #tus
  #file
  #settle = null
  #release = null

  constructor(file, fields, onProgress) {
    this.#file = file
    this.#tus = new Upload(file, {
      endpoint: ENDPOINT,
      metadata: metadataOf(file, fields),
      fingerprint: () => Promise.resolve(fingerprintOf(file, ENDPOINT)),
      retryDelays: SHORT_DELAYS_MS,
      removeFingerprintOnSuccess: true,
      onProgress: (sent, total) => onProgress(sent / total),
      onShouldRetry: (error) => isWorthASecondTry(error),
      onUploadUrlAvailable: () => this.#claim(),
      onSuccess: ({ lastResponse }) => this.#settle?.resolve(lastResponse),
      onError: (error) => this.#settle?.reject(apiErrorOf(error)),
    })
  }

  /** Sends what the server does not have yet. Resolves to {task, duplicateOf} or throws ApiError; may be repeated. */
  async send() {
    if (this.#tus.url === null) await this.#findEarlier()
    const answer = await new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#tus.start()
    })
    let ids = idsIn((name) => answer.getHeader(name))
    // The bytes were all there, but the server stopped before it made a task of them: an empty last piece asks again.
    if (!ids.taskId) ids = await this.#complete()
    this.#letGo()
    return { task: await fetchTask(ids.taskId), duplicateOf: ids.duplicateOf }
  }

  async #complete() {
    const headers = await completeUpload(this.#tus.url, this.#file.size)
    return idsIn((name) => headers.get(name))
  }

  /** Gives the file up, also on the server. */
  abort() {
    const isThere = this.#tus.url !== null
    this.#letGo()
    this.#settle?.reject(new ApiError({ code: 'aborted', status: 0 }))
    this.#settle = null
    this.#tus.abort(isThere).catch(() => {}) // Without an answer it expires by itself.
  }

  #claim() {
    senders.set(this.#tus.url, this)
    this.#release ??= holdUpload(this.#tus.url)
  }

  #letGo() {
    senders.delete(this.#tus.url)
    this.#release?.()
    this.#release = null
  }

  /** Goes on where an earlier visit of the page was interrupted. */
  async #findEarlier() {
    const wanted = withoutBatch(this.#tus.options.metadata)
    const earlier = (await this.#tus.findPreviousUploads()).find(
      ({ uploadUrl, metadata }) => (senders.get(uploadUrl) ?? this) === this && withoutBatch(metadata) === wanted,
    )
    if (!earlier) return
    senders.set(earlier.uploadUrl, this)
    this.#tus.resumeFromPreviousUpload(earlier)
  }
}

/** With what a file was dropped says nothing of the file: chosen again, it comes with others, or alone. */
const withoutBatch = ({ batch: _, batch_name: __, ...metadata }) => JSON.stringify(metadata)

const idsIn = (header) => ({ taskId: header('Task-Id'), duplicateOf: header('Duplicate-Of') })

function metadataOf(file, fields) {
  const chosen = Object.entries(fields).filter(([, value]) => value !== '' && value !== null && value !== undefined)
  const texts = chosen.map(([name, value]) => [name, String(value)])
  return { filename: file.name, filetype: file.type, ...Object.fromEntries(texts) }
}

/**
 * No answer, or one that asks to look where the upload stands, such as 408 after a connection stood still. What takes
 * longer is shown, and waited for there.
 */
function isWorthASecondTry(error) {
  const status = error.originalResponse?.getStatus() ?? 0
  return navigator.onLine && [0, 408, 409, 423, 460, 502, 504].includes(status)
}

function apiErrorOf(error) {
  const response = error.originalResponse
  if (!error.originalRequest) return error // A bug, not something that the network did.
  if (!response) return noAnswer()
  return errorFrom(response.getStatus(), response.getBody(), response.getHeader('Retry-After'))
}
