/**
 * Resumable uploads that an earlier visit of the page has left. tus-js-client keeps where each one goes in localStorage;
 * the server says how much of it is there.
 */
import { findUpload, removeUploadAt } from '../api.js'

const PREFIX = 'tus::'
const MOST = 20
/** The server keeps what nothing was added to for a day. */
const LONGEST_MS = 7 * 24 * 3600 * 1000

/** What tells a file from others without reading it; as tus-js-client has it by itself. */
export const fingerprintOf = ({ name, type, size, lastModified }, endpoint) =>
  ['tus-br', name, type, size, lastModified, endpoint].join('-')

/** Whether it is the file of this unfinished upload. */
export const isFileOf = (file, { key, endpoint }) => key.startsWith(`${PREFIX}${fingerprintOf(file, endpoint)}::`)

/** [{key, url, endpoint, name, size, fields}] as they are kept, newest first; what is too old is removed. */
export function keptUploads(endpoint, { storage = globalThis.localStorage, now = Date.now() } = {}) {
  const found = []
  for (const key of Object.keys(storage).filter((each) => each.startsWith(PREFIX))) {
    const kept = keptUpload(storage.getItem(key))
    if (kept === null || !kept.uploadUrl.startsWith(`${endpoint}/`)) continue // A page below another path.
    const age = now - Date.parse(kept.creationTime)
    if (age > LONGEST_MS) storage.removeItem(key)
    else found.push({ key, endpoint, age, ...describe(kept) })
  }
  return found.sort((a, b) => a.age - b.age).slice(0, MOST)
}

function keptUpload(text) {
  try {
    const kept = JSON.parse(text)
    return typeof kept?.uploadUrl === 'string' && typeof kept.metadata?.filename === 'string' ? kept : null
  } catch {
    return null
  }
}

function describe({ uploadUrl, size, metadata: { filename, filetype: _, ...fields } }) {
  return { url: uploadUrl, name: filename, size, fields }
}

/** Those of keptUploads that can go on, each with its `offset`; not what another tab sends. */
export async function unfinishedUploads(endpoint) {
  const busy = await heldUploads()
  const kept = keptUploads(endpoint).filter(({ url }) => !busy.has(url))
  const found = await Promise.all(kept.map(async (each) => ({ ...each, ...(await findUpload(each.url)) })))
  for (const { key } of found.filter(({ taskId }) => taskId)) localStorage.removeItem(key)
  return found.filter(({ offset, taskId, size }) => !taskId && offset < size)
}

export function giveUp({ key, url }) {
  localStorage.removeItem(key)
  return removeUploadAt(url)
}

const lockOf = (url) => `upload ${url}`

/** Other tabs see by this that the upload is under way. Returns how to end that. Browsers have locks on https only. */
export function holdUpload(url) {
  let release = () => {}
  globalThis.navigator?.locks?.request(lockOf(url), () => new Promise((resolve) => (release = resolve)))
  return () => release()
}

async function heldUploads() {
  const { held = [] } = (await globalThis.navigator?.locks?.query()) ?? {}
  const names = held.map(({ name }) => name).filter((name) => name.startsWith(lockOf('')))
  return new Set(names.map((name) => name.slice(lockOf('').length)))
}
