/**
 * Files that the browser keeps until the server has them, in IndexedDB: recordings that are being made, and files that
 * another program has shared with the page. The service worker uses this module too, so it imports nothing.
 *
 * A kept file is {id, name, type, at, isWhole, parts}: its bytes are `parts`, in order. at: milliseconds since 1970.
 */
const DATABASE = 'kept-files'
const FILES = 'files'
const PARTS = 'parts'

let opened = null

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1)
    request.onupgradeneeded = () => {
      request.result.createObjectStore(FILES, { keyPath: 'id' })
      request.result.createObjectStore(PARTS, { keyPath: ['id', 'number'] })
    }
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  return opened
}

/** Runs `work(files, parts)` in one transaction. Resolves to what its request found, once everything is on the disk. */
async function inTransaction(mode, work) {
  const database = await open()
  return new Promise((resolve, reject) => {
    const transaction = database.transaction([FILES, PARTS], mode, { durability: 'strict' })
    const request = work(transaction.objectStore(FILES), transaction.objectStore(PARTS))
    transaction.oncomplete = () => resolve(request?.result)
    transaction.onabort = () => reject(transaction.error)
  })
}

const allParts = (id) => IDBKeyRange.bound([id, 0], [id, Number.MAX_SAFE_INTEGER])

/** Begins a file whose parts follow. */
export const beginFile = ({ id, name, type, at }) =>
  inTransaction('readwrite', (files) => files.put({ id, name, type, at, isWhole: false }))

export const addPart = (id, number, blob) => inTransaction('readwrite', (_, parts) => parts.put({ id, number, blob }))

export const endFile = ({ id, name, type, at }) =>
  inTransaction('readwrite', (files) => files.put({ id, name, type, at, isWhole: true }))

/** Keeps a whole file at once. */
export const keepFile = ({ id, name, type, at }, blob) =>
  inTransaction('readwrite', (files, parts) => {
    files.put({ id, name, type, at, isWhole: true })
    parts.put({ id, number: 0, blob })
  })

export const forgetFile = (id) =>
  inTransaction('readwrite', (files, parts) => {
    files.delete(id)
    parts.delete(allParts(id))
  })

/** [{id, name, type, at, isWhole}], the oldest first. */
export async function keptFiles() {
  const found = await inTransaction('readonly', (files) => files.getAll())
  return found.sort((a, b) => a.at - b.at)
}

/** The kept file as a File; of one that was not ended, what there is. */
export async function readFile({ id, name, type, at }) {
  const parts = await inTransaction('readonly', (_, all) => all.getAll(allParts(id)))
  return new File(
    parts.map((part) => part.blob),
    name,
    { type, lastModified: at }, // The same at every reading, so that its upload is known again.
  )
}
