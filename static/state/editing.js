/**
 * The editors of the open transcripts, and where in the text the person is editing.
 *
 * `startEditing` connects them with the browser: what closed pages have left is sent, and what is typed is sent before
 * the page is put away.
 */
import { batch, effect, signal } from '@preact/signals'
import * as api from '../api.js'
import { listen } from '../util/listen.js'
import { accountName } from './account.js'
import { EditStorage, joinPages } from './edit-storage.js'
import { toastError } from './toasts.js'
import { TranscriptEditor, UNKEPT } from './transcript-editor.js'
import { onComplete, putEdited } from './transcripts.js'

const pageId = randomName()

/** crypto.randomUUID is for https alone. */
function randomName() {
  return Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join('')
}

/** The server takes numbers of 32 bits. */
const firstLocal = -(crypto.getRandomValues(new Uint32Array(1))[0] >>> 2)

const timers = { set: (action, ms) => setTimeout(action, ms), clear: (timer) => clearTimeout(timer), now: Date.now }

let storage = null
let lastKey = 0
/** id -> TranscriptEditor */
const editors = new Map()

/**
 * Where the person edits: {key, caret}, or null while they only read. key: of the segment, by its editor's `keyOf`. caret: a
 * place in its text, or [from, to] of what is selected.
 */
export const place = signal(null)

/** Whether the exact original is shown in place of the edited text. */
export const isOriginalShown = signal(false)

export function editorOf(id) {
  if (!editors.has(id)) {
    storage ??= new EditStorage(browserStorage(), pageId, accountName)
    const newKey = () => `${pageId}-${++lastKey}`
    const editor = new TranscriptEditor(id, { api, storage, timers, newKey, firstLocal, onError: toastError })
    effect(() => editor.content.value && putEdited(id, editor.content.value))
    editors.set(id, editor)
  }
  return editors.get(id)
}

/** The editor of a transcript that is shown on this page, or undefined. */
export function openEditor(id) {
  const editor = editors.get(id)
  return editor?.content.peek() ? editor : undefined
}

/** Reading the property may be forbidden by the browser's settings. */
function browserStorage() {
  try {
    return globalThis.localStorage ?? NOTHING_KEPT
  } catch {
    return NOTHING_KEPT
  }
}

const NOTHING_KEPT = {
  length: 0,
  getItem: () => null,
  removeItem: () => {},
  setItem: () => {
    throw new Error('this browser keeps nothing')
  },
}

/** Begins to edit at a place, or stops with null. */
export function editAt(key, caret = 0) {
  place.value = { key, caret }
}

export function stopEditing() {
  for (const editor of editors.values()) editor.commit()
  place.value = null
}

/** Somebody has edited the transcript of a task: this page, another one, or another person. */
export function applyTranscriptEdited({ id, version }) {
  editors.get(id)?.heardOf(version)
}

/** The server can be reached again. */
export function retryEdits() {
  for (const editor of editors.values()) if (editor.hasUnsent) editor.retry()
}

export function startEditing() {
  onComplete((id, transcript) => batch(() => editorOf(id).open(transcript)))
  const commitAll = () => {
    for (const editor of editors.values()) editor.commit()
  }
  listen(globalThis, { online: retryEdits, pagehide: commitAll, beforeunload: warnOfLoss })
  document.addEventListener('visibilitychange', () => document.hidden && commitAll())
  return adoptLeft(globalThis.BroadcastChannel ? joinPages(pageId) : async () => new Set())
}

/** The browser asks whether to leave only while something would be lost by it. */
function warnOfLoss(event) {
  if ([...editors.values()].some(({ state }) => state.peek() === UNKEPT)) event.preventDefault()
}

/** Sends what pages that are closed by now could not send. */
async function adoptLeft(findOpenPages) {
  storage ??= new EditStorage(browserStorage(), pageId, accountName)
  if (storage.others().length === 0) return
  const open = await findOpenPages()
  // Of several pages that are opened together, one at a time.
  const locked = (action) => navigator.locks?.request('whisper.edits', action) ?? action()
  await locked(() => {
    for (const left of storage.others()) if (!open.has(left.pageId)) adopt(left)
  })
}

function adopt(left) {
  const outbox = storage.take(left)
  if (outbox !== null) editorOf(left.taskId).adopt(outbox)
}
