/** Editing: shown at once, sent when possible, nothing lost and nothing done twice. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApiError } from '../../static/api.js'
import { applyEdit, applyEdits, countMatches } from '../../static/state/edit-fold.js'
import { BOTH, MINE, THEIRS } from '../../static/state/edit-outbox.js'
import { EditStorage } from '../../static/state/edit-storage.js'
import { OFFLINE, SAVED, SAVING, TranscriptEditor, UNKEPT } from '../../static/state/transcript-editor.js'

const TASK = '01TASK'
const segment = (id, text, more = {}) => ({ id, start: id * 5, end: id * 5 + 5, text: ` ${text}`, ...more })
const three = () => ({ segments: [segment(0, 'one'), segment(1, 'two'), segment(2, 'three')], speakers: {} })
const textsOf = ({ segments }) => segments.map(({ text }) => text.trim())

// --- a server, a browser and a page to try it with --------------------------------------------------------------------

/** Does what the REST API does with edits. `fault`: called before and after each call, and may throw. */
class Server {
  version = 0
  rows = []
  content = three()
  fault = () => {}
  #before = new Map()
  #lastId = 100

  api = {
    fetchEdited: async () => this.#call('read', () => this.#transcript()),
    fetchEditPage: async () => this.#call('rows', () => ({ edits: this.rows, ...this.#canDo() })),
    sendEdits: async (_, base, edits) => this.#call('send', () => this.apply(base, edits)),
    stepEdits: async (_, name, base) => this.#call('step', () => this.#step(name, base)),
  }

  async #call(name, action) {
    this.fault(name, 'before')
    const answer = action()
    this.fault(name, 'after')
    return answer
  }

  #transcript() {
    return { ...structuredClone(this.content), version: this.version }
  }

  apply(base, edits) {
    const named = edits.flatMap((edit) => edit.segments ?? edit.segment ?? [])
    const changedIn = (data) => data.edits?.flatMap(changedIn) ?? data.segments ?? [data.segment]
    const isConflict = this.rows.some(
      ({ number, data }) => number > base && changedIn(data).some((id) => named.includes(id)),
    )
    if (isConflict) throw new ApiError({ code: 'edit_conflict', status: 409 })
    this.version += 1
    this.#before.set(this.version, this.content)
    const made = {}
    const stored = edits.map(({ local, ...edit }) => {
      if (!['split', 'insert'].includes(edit.kind)) return edit
      const first_id = ++this.#lastId
      if (local !== undefined) made[local] = first_id
      return { ...edit, first_id }
    })
    const [{ kind, ...data }] = stored
    this.rows.unshift({
      number: this.version,
      ...(stored.length > 1 ? { kind: 'several', data: { edits: stored } } : { kind, data }),
    })
    for (const edit of stored) this.content = applyEdit(this.content, { ...edit, local: edit.first_id })
    return { ...this.#changes(), made }
  }

  /** All segments count as changed, in an order of their own. */
  #changes() {
    const { segments, ...more } = this.#transcript()
    return { ...more, ...this.#canDo(), segments: segments.toReversed(), order: segments.map(({ id }) => id) }
  }

  #canDo() {
    return { can_undo: this.version > 0, can_redo: false }
  }

  #step(name, base) {
    if (name !== 'undo' || base === 0) throw new ApiError({ code: 'nothing_to_undo', status: 409 })
    this.content = this.#before.get(this.version)
    this.version += 1
    this.rows.unshift({ number: this.version, kind: 'undo', data: {} })
    return this.#changes()
  }
}

class Browser {
  items = new Map()
  isFull = false
  get length() {
    return this.items.size
  }
  key = (at) => [...this.items.keys()][at]
  getItem = (key) => this.items.get(key) ?? null
  removeItem = (key) => this.items.delete(key)
  setItem = (key, value) => {
    if (this.isFull) throw new Error('no room')
    this.items.set(key, value)
  }
}

/** An open page. `pass()`: lets time pass until nothing is left to do, or for `ms` at most. */
class OpenPage {
  static count = 0
  errors = []
  now = 1000
  #timers = new Map()

  constructor(server, browser = new Browser(), { isOpened = true } = {}) {
    const name = `page${++OpenPage.count}`
    this.storage = new EditStorage(browser, name)
    let keys = 0
    this.editor = new TranscriptEditor(TASK, {
      api: server.api,
      storage: this.storage,
      timers: {
        set: (action, ms) => this.#set(action, ms),
        clear: (timer) => this.#timers.delete(timer),
        now: () => this.now,
      },
      newKey: () => `${name}-${++keys}`,
      firstLocal: -1000 * OpenPage.count,
      onError: (error) => this.errors.push(error.code),
    })
    if (isOpened) this.editor.open({ ...structuredClone(server.content), version: server.version })
  }

  #set(action, ms) {
    const timer = Symbol()
    this.#timers.set(timer, { at: this.now + ms, action })
    return timer
  }

  async pass(ms = 1000) {
    await settled()
    const end = this.now + ms
    for (;;) {
      const [timer, due] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? []
      if (!due || due.at > end) break
      this.#timers.delete(timer)
      this.now = due.at
      due.action()
      await settled()
    }
    this.now = end
  }

  get texts() {
    return textsOf(this.editor.content.value)
  }
}

async function settled() {
  for (let turn = 0; turn < 50; turn += 1) await null
}

const offline = () => {
  throw new ApiError({ code: 'network', status: 0 })
}

/** The server does what it is asked, and the answer is lost, once. */
function losingAnAnswer(server) {
  server.fault = (name, when) => {
    if (name !== 'send' || when !== 'after') return
    server.fault = () => {}
    offline()
  }
}

// --- what an edit makes of a text -------------------------------------------------------------------------------------

test('splitting counts characters as Python does, and cuts where a word begins', () => {
  const words = [' 😀', ' ab', ' cd'].map((word, at) => ({ word, start: at, end: at + 1 }))
  const content = { segments: [{ id: 0, start: 0, end: 3, text: ' 😀 ab cd', words }], speakers: {} }
  const [first, second] = applyEdit(content, { kind: 'split', segment: 0, at_char: 6, local: -1 }).segments
  assert.deepEqual([first.text, second.text], [' 😀 ab', ' cd'])
  assert.deepEqual([first.end, second.start, second.id], [2, 2, -1])
})

test('merging puts a space between words, and none between Chinese characters', () => {
  const merged = (first, second) =>
    applyEdit(
      {
        segments: [
          { id: 0, start: 0, end: 1, text: first },
          { id: 1, start: 1, end: 2, text: second },
        ],
        speakers: {},
      },
      { kind: 'merge', segments: [0, 1] },
    ).segments
  assert.deepEqual(merged(' one', 'two'), [{ id: 0, start: 0, end: 2, text: ' one two' }])
  assert.equal(merged('你好。', '世界')[0].text, '你好。世界')
})

test('replacing takes what is searched for literally, whole words and capitals as wanted', () => {
  const content = { segments: [segment(0, 'a.b A.B xa.b axb'), segment(1, 'none')], speakers: {} }
  const replaced = (more) =>
    applyEdit(content, { kind: 'replace', segments: 'all', find: 'a.b', replace: '$1', ...more })
  assert.equal(replaced({}).segments[0].text, ' $1 $1 x$1 axb')
  assert.equal(replaced({ case: true, whole_words: true }).segments[0].text, ' $1 A.B xa.b axb')
  assert.equal(replaced({}).segments[1], content.segments[1])
  assert.equal(countMatches(content.segments, { find: 'a.b' }), 3)
})

test('all times move together, and none below zero', () => {
  const moved = applyEdit(three(), { kind: 'shift', seconds: -6 }).segments
  assert.deepEqual(
    moved.map(({ start, end }) => [start, end]),
    [
      [0, 0],
      [0, 4],
      [4, 9],
    ],
  )
})

test('speakers are given, named and merged', () => {
  const edits = [
    { kind: 'set_speaker', segments: [0, 1], speaker: 'S1' },
    { kind: 'set_speaker', segments: [2], speaker: 'S2' },
    { kind: 'name_speaker', speaker: 'S1', name: 'Ann' },
    { kind: 'merge_speakers', from: 'S2', into: 'S1' },
  ]
  const { segments, speakers } = applyEdits(three(), edits)
  assert.deepEqual(
    segments.map(({ speaker }) => speaker),
    ['S1', 'S1', 'S1'],
  )
  assert.deepEqual(speakers, { S1: 'Ann' })
})

// --- saving -----------------------------------------------------------------------------------------------------------

test('what is typed is sent at the next pause, as one edit', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  for (const text of ['o', 'on', 'once']) {
    page.editor.type(0, text)
    await page.pass(100)
  }
  assert.equal(page.editor.state.value, SAVING)
  assert.equal(server.version, 0)
  await page.pass()
  assert.equal(page.editor.state.value, SAVED)
  assert.deepEqual(textsOf(server.content), ['once', 'two', 'three'])
  assert.equal(server.rows.length, 1)
  assert.equal(page.editor.hasUnsent, false)
})

test('somebody who types without a pause is saved all the same', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  for (let length = 1; length < 30; length += 1) {
    page.editor.type(0, 'x'.repeat(length))
    await page.pass(300)
  }
  assert.ok(server.rows.length >= 1)
})

test('typing a text back to what it was is no edit', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  page.editor.type(0, 'ones')
  page.editor.type(0, 'one')
  await page.pass()
  assert.equal(server.version, 0)
  assert.equal(page.editor.state.value, SAVED)
})

test('without a connection edits are shown and kept, and sent in order when it is back', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  server.fault = offline
  page.editor.type(0, 'first')
  page.editor.commit()
  page.editor.edit([{ kind: 'delete', segments: [2] }])
  await page.pass()
  assert.equal(page.editor.state.value, OFFLINE)
  assert.deepEqual(page.texts, ['first', 'two'])
  server.fault = () => {}
  await page.pass(60_000)
  assert.equal(page.editor.state.value, SAVED)
  assert.deepEqual(textsOf(server.content), ['first', 'two'])
})

test('an edit whose answer was lost is not done twice', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  losingAnAnswer(server)
  page.editor.edit([{ kind: 'insert', after: 0, start: 5, end: 5, text: 'new' }])
  await page.pass(60_000)
  assert.deepEqual(page.texts, ['one', 'new', 'two', 'three'])
  assert.deepEqual(textsOf(server.content), page.texts)
  assert.ok(page.editor.content.value.segments.every(({ id }) => id >= 0))
})

test('nor are several edits that go together', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  losingAnAnswer(server)
  page.editor.edit([
    { kind: 'insert', after: 0, start: 5, end: 5, text: 'b' },
    { kind: 'insert', after: 0, start: 5, end: 5, text: 'a' },
  ])
  await page.pass(60_000)
  assert.deepEqual(textsOf(server.content), ['one', 'a', 'b', 'two', 'three'])
  assert.deepEqual(page.texts, textsOf(server.content))
})

test('a browser that cannot keep an edit says so', () => {
  const browser = new Browser()
  const server = new Server()
  const page = new OpenPage(server, browser)
  browser.isFull = true
  server.fault = offline
  page.editor.type(0, 'once')
  assert.equal(page.editor.state.value, UNKEPT)
})

test('text typed into the second half of a segment follows it to the id that the server gives it', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  server.fault = offline
  page.editor.type(1, 'two halves')
  const [half] = page.editor.edit([{ kind: 'split', segment: 1, at_char: 5 }])
  page.editor.type(half, 'other half')
  page.editor.commit()
  page.editor.edit([{ kind: 'split', segment: half, at_char: 6 }])
  server.fault = () => {}
  await page.pass(60_000)
  assert.deepEqual(textsOf(server.content), ['one', 'two', 'other', 'half', 'three'])
  assert.deepEqual(
    page.editor.content.value.segments.map(({ id }) => id),
    server.content.segments.map(({ id }) => id),
  )
})

test('an edit that the server refuses is kept for the person to see', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  server.fault = (name) => {
    if (name === 'send') throw new ApiError({ code: 'invalid_edit', message: 'Too long.', status: 422 })
  }
  page.editor.type(0, 'far too long')
  await page.pass()
  const [conflict] = page.editor.conflicts.value
  assert.equal(conflict.error.message, 'Too long.')
  assert.deepEqual(
    conflict.mine.map(({ text }) => text.trim()),
    ['far too long'],
  )
  assert.deepEqual(page.texts, ['one', 'two', 'three'])
})

test('a text that is not edited keeps its objects, so that it is not drawn again', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  const before = page.editor.content.value.segments
  page.editor.type(0, 'once')
  await page.pass()
  const after = page.editor.content.value.segments
  assert.notEqual(after[0], before[0])
  assert.equal(after[1], before[1])
  assert.equal(after[2], before[2])
})

// --- pages that are closed --------------------------------------------------------------------------------------------

test('what a closed page has left is sent by the next one', async () => {
  const server = new Server()
  const browser = new Browser()
  const closed = new OpenPage(server, browser)
  server.fault = offline
  closed.editor.type(1, 'typed a moment before')
  server.fault = () => {}
  const page = new OpenPage(server, browser)
  const [left] = page.storage.others()
  page.editor.adopt(page.storage.take(left))
  await page.pass()
  assert.deepEqual(textsOf(server.content), ['one', 'typed a moment before', 'three'])
  assert.deepEqual(
    [...browser.items.values()].filter((value) => value.includes('typed')),
    [],
  )
})

test('what one person has left is not sent as another', () => {
  const browser = new Browser()
  new EditStorage(browser, 'closed', 'ann.b').keep(TASK, { batches: [] })
  assert.deepEqual(new EditStorage(browser, 'open', 'ann').others(), [])
  assert.deepEqual(new EditStorage(browser, 'open').others(), [])
  assert.deepEqual(new EditStorage(browser, 'open', 'ann.b').others(), [{ taskId: TASK, pageId: 'closed' }])
})

test('a page that only slept does not send again what another has taken over', async () => {
  const server = new Server()
  const browser = new Browser()
  const asleep = new OpenPage(server, browser)
  asleep.editor.edit([{ kind: 'insert', after: null, start: 0, end: 0, text: 'ahead' }])
  server.fault = offline
  await asleep.pass()
  const slept = new OpenPage(server, browser)
  slept.editor.edit([{ kind: 'insert', after: 2, start: 15, end: 15, text: 'behind' }])
  await slept.pass()
  server.fault = () => {}
  const page = new OpenPage(server, browser)
  for (const left of page.storage.others()) page.editor.adopt(page.storage.take(left) ?? { batches: [], conflicts: [] })
  await page.pass(60_000)
  await slept.pass(60_000)
  await asleep.pass(60_000)
  assert.deepEqual(textsOf(server.content), ['ahead', 'one', 'two', 'three', 'behind'])
})

test('what a closed page has left is sent though the task is not opened, and dropped with a task that is gone', async () => {
  const server = new Server()
  const browser = new Browser()
  const closed = new OpenPage(server, browser)
  server.fault = offline
  closed.editor.type(1, 'typed')
  const page = new OpenPage(server, browser, { isOpened: false })
  page.editor.adopt(page.storage.take(page.storage.others()[0]))
  await page.pass()
  server.fault = () => {}
  await page.pass(60_000)
  assert.deepEqual(textsOf(server.content), ['one', 'typed', 'three'])

  server.fault = () => {
    throw new ApiError({ code: 'task_not_found', status: 404 })
  }
  page.editor.type(1, 'too late')
  await page.pass()
  assert.equal(page.editor.hasUnsent, false)
})

// --- two pages --------------------------------------------------------------------------------------------------------

test('edits of different segments in two pages go together', async () => {
  const server = new Server()
  const [one, other] = [new OpenPage(server), new OpenPage(server)]
  one.editor.type(0, 'mine')
  await one.pass()
  other.editor.type(2, 'theirs')
  await other.pass()
  one.editor.heardOf(server.version)
  await one.pass()
  for (const page of [one, other]) assert.deepEqual(page.texts, ['mine', 'two', 'theirs'])
  assert.deepEqual(other.editor.conflicts.value, [])
})

async function inConflict() {
  const server = new Server()
  const [one, other] = [new OpenPage(server), new OpenPage(server)]
  one.editor.type(1, 'mine')
  await one.pass()
  other.editor.type(1, 'theirs')
  other.editor.edit([{ kind: 'delete', segments: [0] }])
  await other.pass()
  return { server, page: other }
}

test('edits of the same segment in two pages are a conflict that shows both, and holds nothing else up', async () => {
  const { server, page } = await inConflict()
  const [conflict] = page.editor.conflicts.value
  assert.deepEqual(conflict.ids, [1])
  assert.deepEqual(
    conflict.mine.map(({ text }) => text.trim()),
    ['theirs'],
  )
  assert.deepEqual(page.texts, ['mine', 'three'])
  assert.deepEqual(textsOf(server.content), ['mine', 'three'])
})

for (const [choice, expected] of [
  [MINE, 'theirs'],
  [THEIRS, 'mine'],
  [BOTH, 'mine theirs'],
]) {
  test(`a conflict is resolved: ${choice}`, async () => {
    const { server, page } = await inConflict()
    page.editor.resolve(page.editor.conflicts.value[0], choice)
    await page.pass()
    assert.deepEqual(textsOf(server.content), [expected, 'three'])
    assert.deepEqual(page.editor.conflicts.value, [])
    assert.equal(page.editor.hasUnsent, false)
  })
}

test('what is split here and edited there can be kept as it was split', async () => {
  const server = new Server()
  server.content = { segments: [segment(0, 'one two'), segment(1, 'three')], speakers: {} }
  const page = new OpenPage(server)
  server.apply(0, [{ kind: 'set_text', segment: 0, text: 'changed there' }])
  const [half] = page.editor.edit([{ kind: 'split', segment: 0, at_char: 5 }])
  page.editor.type(half, 'second')
  await page.pass()
  assert.deepEqual(page.texts, ['changed there', 'three'])
  const [conflict] = page.editor.conflicts.value
  assert.deepEqual(
    conflict.mine.map(({ text }) => text.trim()),
    ['one', 'second'],
  )
  page.editor.resolve(conflict, MINE)
  await page.pass()
  assert.deepEqual(textsOf(server.content), ['one', 'second', 'three'])
})

test('a text whose segment was deleted elsewhere can be put back in its place', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  server.apply(0, [{ kind: 'delete', segments: [1] }])
  page.editor.type(1, 'still wanted')
  await page.pass()
  page.editor.resolve(page.editor.conflicts.value[0], BOTH)
  await page.pass()
  assert.deepEqual(textsOf(server.content), ['one', 'still wanted', 'three'])
})

test('the same correction in two pages is no conflict', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  server.apply(0, [{ kind: 'set_text', segment: 1, text: 'too' }])
  page.editor.type(1, 'too')
  await page.pass()
  assert.deepEqual(page.editor.conflicts.value, [])
  assert.deepEqual(page.texts, ['one', 'too', 'three'])
})

test('a conflict outlives the page', async () => {
  const server = new Server()
  const browser = new Browser()
  const closed = new OpenPage(server, browser)
  server.apply(0, [{ kind: 'set_text', segment: 1, text: 'elsewhere' }])
  closed.editor.type(1, 'here')
  await closed.pass()
  const page = new OpenPage(server, browser)
  for (const left of page.storage.others()) page.editor.adopt(page.storage.take(left))
  assert.equal(page.editor.conflicts.value[0].mine[0].text.trim(), 'here')
})

// --- undo and redo ----------------------------------------------------------------------------------------------------

test('an edit that was not sent is taken back here, and can be done again', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  server.fault = offline
  page.editor.edit([{ kind: 'delete', segments: [0] }])
  page.editor.type(1, 'typed')
  page.editor.undo()
  assert.deepEqual(page.texts, ['two', 'three'])
  page.editor.redo()
  assert.deepEqual(page.texts, ['typed', 'three'])
  server.fault = () => {}
  await page.pass(60_000)
  assert.deepEqual(textsOf(server.content), ['typed', 'three'])
})

test('an edit that the server has is undone there', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  page.editor.edit([{ kind: 'delete', segments: [0] }])
  await page.pass()
  page.editor.undo()
  await page.pass()
  assert.deepEqual(page.texts, ['one', 'two', 'three'])
  page.editor.redo()
  await page.pass()
  assert.deepEqual(page.errors, ['nothing_to_undo'])
})

test('a step of undoing that does not reach the server is not done later by surprise', async () => {
  const server = new Server()
  const page = new OpenPage(server)
  page.editor.edit([{ kind: 'delete', segments: [0] }])
  await page.pass()
  server.fault = offline
  page.editor.undo()
  await page.pass()
  server.fault = () => {}
  await page.pass(60_000)
  assert.deepEqual(page.errors, ['network'])
  assert.deepEqual(page.texts, ['two', 'three'])
})
