/**
 * Edits one transcript: shows an edit at once, keeps it in the browser, and sends it when it can.
 *
 * Edits go to the server one batch at a time, in order. Each is based on a version that the page knows; where somebody
 * else has changed the same segments meanwhile, it becomes a conflict, which the person resolves.
 */
import { signal } from '@preact/signals'
import * as queue from './edit-outbox.js'

/** So long after the last key what was typed is sent; at the latest so long after the first. */
const PAUSE_MS = 700
const LONGEST_MS = 4000
/** Between two attempts to reach the server. */
const [FIRST_DELAY_MS, LONGEST_DELAY_MS] = [1000, 30_000]

const GONE = 'task_not_found'

export const [SAVED, SAVING, OFFLINE, UNKEPT] = ['saved', 'saving', 'offline', 'unkept']

export class TranscriptEditor {
  /** SAVED, SAVING, OFFLINE, or UNKEPT: the browser could not even keep it. */
  state = signal(SAVED)
  /** What is to be resolved: those of edit-outbox. */
  conflicts = signal([])
  /** The text with everything that is not sent yet, {segments, speakers, version}; null before the first `open`. */
  content = signal(null)
  /** Whether there is something to undo and to do again. */
  canUndo = signal(false)
  canRedo = signal(false)

  #id
  #api
  #storage
  #timers
  #newKey
  #onError
  #server = null
  #outbox
  #newestVersion = 0
  /** The server's id -> the local one, of segments that were made on this page. */
  #keys = new Map()
  /** {canUndo, canRedo} of the server's history; null while that is not known. */
  #history = null
  #steps = []
  #isWorking = false
  #isLost = false
  #isKept = true
  #failures = 0
  #pauseTimer = null
  #retryTimer = null
  #typingSince = null

  /**
   * api: {fetchEdited(id), sendEdits(id, base, edits), stepEdits(id, 'undo' or 'redo', base), fetchEditPage(id, filter)}.
   * storage: an EditStorage. timers: {set(action, ms), clear(timer), now()}. firstLocal: below 0, where this page begins to
   * number its new segments. onError: called with an ApiError.
   */
  constructor(id, { api, storage, timers, newKey, firstLocal, onError }) {
    this.#id = id
    this.#api = api
    this.#storage = storage
    this.#timers = timers
    this.#newKey = newKey
    this.#onError = onError
    this.#outbox = queue.emptyOutbox(0, firstLocal)
  }

  /** Begins with, or catches up with, the transcript on the server: {segments, speakers, version}. */
  open(transcript) {
    if (this.#server !== null && (transcript.version ?? 0) < this.#outbox.version) return
    this.#receive(transcript)
    this.#work()
  }

  /** Edits that a closed page has left behind. They come before this page's own. */
  adopt({ batches, conflicts, lastLocal }) {
    const own = this.#outbox
    this.#put({
      ...own,
      batches: [...batches.map((batch) => ({ ...batch, isOpen: false })), ...own.batches],
      conflicts: [...conflicts, ...own.conflicts],
      lastLocal: Math.min(lastLocal, own.lastLocal),
    })
    if (this.#server) this.#receiveAgain(this.#outbox)
    this.#work()
  }

  /** The text of a segment while it is being typed: kept at once, sent at the next pause, drawn when it is sent. */
  type(segment, text) {
    const { segment: named } = this.#named({ segment })
    this.#put(queue.withTyped(this.#outbox, this.#shown(), named, text, this.#newKey()), { isDrawn: false })
    const now = this.#timers.now()
    this.#typingSince ??= now
    this.#timers.clear(this.#pauseTimer)
    if (now - this.#typingSince > LONGEST_MS) this.commit()
    else this.#pauseTimer = this.#timers.set(() => this.commit(), PAUSE_MS)
  }

  /** Ends what is being typed, and sends it. */
  commit() {
    this.#timers.clear(this.#pauseTimer)
    this.#typingSince = null
    this.#put(queue.withClosed(this.#outbox))
    this.#work()
  }

  /** One step of undoing. Returns the local ids of the segments that it makes. */
  edit(edits) {
    this.commit()
    const named = edits.map((edit) => this.#named(edit))
    this.#put(queue.withBatch(this.#outbox, this.#shown(), named, this.#newKey()))
    const made = this.#outbox.batches.at(-1).edits.flatMap(({ local }) => local ?? [])
    this.#work()
    return made
  }

  /** What was not sent yet is taken back here; else the server undoes the last step of its history. */
  undo() {
    this.#step('undo', queue.withUndone)
  }

  redo() {
    this.#step('redo', queue.withRedone)
  }

  #step(name, inOutbox) {
    this.#timers.clear(this.#pauseTimer)
    this.#typingSince = null
    const [outbox, isDone] = inOutbox(queue.withClosed(this.#outbox))
    if (!isDone) this.#steps.push(name)
    this.#put(outbox)
    this.#work()
  }

  /** choice: MINE, THEIRS or BOTH. */
  resolve(conflict, choice) {
    const edits = queue.resolution(conflict, choice, this.#shown())
    this.#put(queue.withoutConflict(this.#outbox, conflict.key))
    if (edits.length > 0) this.edit(edits)
  }

  /** The server has a newer version, by this page or by somebody else. */
  heardOf(version) {
    this.#newestVersion = Math.max(this.#newestVersion, version)
    this.#work()
  }

  /** The server may be reachable again. */
  retry() {
    this.#timers.clear(this.#retryTimer)
    this.#work()
  }

  get hasUnsent() {
    return !queue.isEmpty(this.#outbox)
  }

  // --- what is shown and kept ---

  #shown() {
    return queue.foldedWith(this.#server, this.#outbox)
  }

  #put(outbox, { isDrawn = true } = {}) {
    this.#outbox = outbox
    const { version: _, ...kept } = outbox
    this.#isKept = this.#storage.keep(this.#id, queue.isEmpty(outbox) ? null : kept)
    if (this.conflicts.peek() !== outbox.conflicts) this.conflicts.value = outbox.conflicts
    if (isDrawn && this.#server) this.content.value = { ...this.#shown(), version: outbox.version }
    this.#tellState()
  }

  #tellState() {
    const isWaiting = this.#outbox.batches.length > 0 || this.#steps.length > 0
    if (isWaiting && !this.#isKept) this.state.value = UNKEPT
    else if (isWaiting) this.state.value = this.#isLost ? OFFLINE : SAVING
    else this.state.value = SAVED
    this.canUndo.value = this.#outbox.batches.length > 0 || (this.#history?.canUndo ?? false)
    const isRedoSent = this.#outbox.batches.length === 0 && (this.#history?.canRedo ?? false)
    this.canRedo.value = this.#outbox.redoable.length > 0 || isRedoSent
  }

  /** doneKey: of the batch that the transcript has now. ids: local id -> the server's, of the segments that it made. */
  #receive({ segments, speakers, version = 0 }, doneKey = null, ids = new Map()) {
    const after = { segments: this.#unchangedKept(segments), speakers: speakers ?? {} }
    const outbox = doneKey === null ? this.#outbox : queue.withDone(this.#outbox, doneKey, after, ids)
    for (const [local, id] of ids) this.#keys.set(id, local)
    this.#server = after
    this.#newestVersion = Math.max(this.#newestVersion, version)
    this.#put(queue.withReceived(outbox, after, version))
  }

  /** answer: of the server to edits, with the segments that have changed. */
  #receiveChanges(answer, doneKey = null) {
    const { segments: changed, order, speakers, version, made = {} } = answer
    this.#history = { canUndo: answer.can_undo, canRedo: answer.can_redo }
    const ids = new Map(Object.entries(made).map(([local, id]) => [Number(local), id]))
    this.#receive({ segments: withChanged(this.#server.segments, changed, order), speakers, version }, doneKey, ids)
  }

  /** Who holds a segment's local id may go on to use it. */
  #named(edit) {
    return queue.renamedEdit(edit, new Map([...this.#keys].map(([id, local]) => [local, id])))
  }

  /** What identifies a segment on the page: it stays the same when the server gives a new segment its id. */
  keyOf(segment) {
    return this.#keys.get(segment) ?? segment
  }

  #receiveAgain(outbox) {
    this.#put(queue.withReceived(outbox, this.#server, outbox.version))
  }

  /** A segment that is as it was stays the same object, so that it is not drawn again. */
  #unchangedKept(segments) {
    const before = new Map(this.#server?.segments.map((segment) => [segment.id, segment]))
    return segments.map((segment) => (isSame(before.get(segment.id), segment) ? before.get(segment.id) : segment))
  }

  // --- sending ---

  async #work() {
    if (this.#isWorking) return
    this.#isWorking = true
    try {
      for (let next = this.#next(); next; next = this.#next()) await next()
      this.#failures = 0
      this.#isLost = false
    } catch (error) {
      this.#onFailure(error)
    } finally {
      this.#isWorking = false
      this.#tellState()
    }
  }

  /** The next thing that there is to do, as a function, or null. */
  #next() {
    if (this.#storage.isTaken(this.#id)) this.#put(queue.emptyOutbox(this.#outbox.version, this.#outbox.lastLocal))
    if (this.#server === null) return this.hasUnsent ? () => this.#reload() : null
    const batch = this.#outbox.batches[0]
    if (batch && batch.sentAt !== null) return () => this.#lookFor(batch)
    if (this.#newestVersion > this.#outbox.version) return () => this.#reload()
    if (batch && !batch.isOpen) return () => this.#send(batch)
    if (!batch && this.#steps.length > 0) return () => this.#doStep(this.#steps[0])
    if (this.#history === null && this.#outbox.version > 0) return () => this.#readHistory()
    return null
  }

  async #reload(doneKey, ids) {
    const transcript = await this.#api.fetchEdited(this.#id)
    this.#newestVersion = transcript.version ?? 0
    this.#history = null
    this.#receive(transcript, doneKey, ids)
  }

  async #readHistory() {
    const { can_undo: canUndo, can_redo: canRedo } = await this.#api.fetchEditPage(this.#id, { limit: 1 })
    this.#history = { canUndo, canRedo }
  }

  /** The answer to an earlier attempt was lost: it may have arrived all the same. */
  async #lookFor(batch) {
    const { edits: steps } = await this.#api.fetchEditPage(this.#id, { limit: 200 })
    const ids = queue.idsIfDone(
      batch,
      steps.filter(({ number }) => number > batch.sentAt),
    )
    if (ids) return this.#reload(batch.key, ids)
    return this.#receiveAgain(queue.withUnsent(this.#outbox, batch.key))
  }

  async #send(batch) {
    const { version } = this.#outbox
    this.#put(queue.withSent(this.#outbox, batch.key), { isDrawn: false })
    try {
      this.#receiveChanges(await this.#api.sendEdits(this.#id, version, batch.edits), batch.key)
    } catch (error) {
      if (error.name !== 'ApiError' || isTransient(error) || error.code === GONE) throw error
      await this.#onRefusal(batch, error, version)
    }
    this.#isLost = false
  }

  /** The newest text shows whether there is a conflict. What is refused for another reason is kept and shown as well. */
  async #onRefusal({ key }, error, version) {
    this.#receiveAgain(queue.withUnsent(this.#outbox, key))
    if (error.code === 'edit_conflict') await this.#reload()
    const isStillThere = this.#outbox.batches.some((batch) => batch.key === key)
    const mayGoNow = error.code === 'edit_conflict' && this.#outbox.version !== version
    if (!isStillThere || mayGoNow) return
    const { code, message } = error
    this.#put(queue.withRefused(this.#outbox, key, { code, message }))
  }

  async #doStep(name) {
    try {
      this.#receiveChanges(await this.#api.stepEdits(this.#id, name, this.#outbox.version))
    } catch (error) {
      if (error.name !== 'ApiError') throw error
      this.#onError(error)
      if (error.code === 'edit_conflict') await this.#reload()
    } finally {
      this.#steps.shift() // Nobody expects that a step is undone later, when there is a connection again.
    }
  }

  #onFailure(error) {
    if (error.name !== 'ApiError') throw error
    if (error.code === GONE) {
      this.#put(queue.emptyOutbox(this.#outbox.version, this.#outbox.lastLocal)) // The task was deleted.
      return
    }
    this.#isLost = true
    this.#steps = []
    const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures++)
    this.#retryTimer = this.#timers.set(() => this.#work(), error.retryAfterS ? error.retryAfterS * 1000 : delay)
  }
}

/** Whether the same request may succeed later: no answer, a busy server, or nobody logged in. */
const isTransient = (error) => error.isRetryable || error.status === 401 || error.status >= 500

/** order: the ids of all segments, or null where none came or went. */
function withChanged(segments, changed, order) {
  const now = new Map([...segments, ...changed].map((segment) => [segment.id, segment]))
  return (order ?? segments.map(({ id }) => id)).map((id) => now.get(id))
}

const FIELDS = ['text', 'start', 'end', 'speaker']
const WORD_FIELDS = ['word', 'start', 'end', 'speaker']

function isSame(one, other) {
  if (one === undefined || one.words?.length !== other.words?.length) return false
  if (FIELDS.some((name) => one[name] !== other[name])) return false
  return !one.words?.some((word, at) => WORD_FIELDS.some((name) => word[name] !== other.words[at][name]))
}
