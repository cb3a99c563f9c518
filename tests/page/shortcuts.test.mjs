/** Shortcuts, and times as they are typed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { timesAfter } from '../../static/state/edit-commands.js'
import { groupedSteps } from '../../static/state/edit-history.js'
import en from '../../static/text/en.js'
import { parseClock, preciseClock } from '../../static/util/clock-time.js'
import { heldShortcut, isTyping, keyNames, SHORTCUTS } from '../../static/util/shortcuts.js'

const press = (key, held = {}, code = `Key${key.toUpperCase()}`) => ({
  key,
  code,
  ctrlKey: false,
  altKey: false,
  metaKey: false,
  shiftKey: false,
  ...held,
})
const [alt, ctrl, meta] = [{ altKey: true }, { ctrlKey: true }, { metaKey: true }]

test('a shortcut takes Alt, and Control on a Mac, where Option writes letters', () => {
  assert.equal(heldShortcut(press('k', alt), false), 'play')
  assert.equal(heldShortcut(press('k', ctrl), true), 'play')
  assert.equal(heldShortcut(press('ł', alt, 'KeyL'), true), null)
  assert.equal(heldShortcut(press('k'), false), null)
})

test("keys of the browser, of AltGr and of VoiceOver are not the page's", () => {
  assert.equal(heldShortcut(press('k', ctrl), false), null)
  assert.equal(heldShortcut(press('k', { ...alt, ...ctrl }), false), null)
  assert.equal(heldShortcut(press('k', { ...alt, ...ctrl }), true), null)
  for (const letter of 'defbhstv') assert.equal(heldShortcut(press(letter, alt), false), null, letter)
})

test('a shortcut is where the layout has the letter, or where it would be', () => {
  assert.equal(heldShortcut(press('j', alt, 'KeyC'), false), 'back')
  assert.equal(heldShortcut(press('л', alt, 'KeyK'), false), 'play')
})

test('undo and redo are those of the system', () => {
  assert.equal(heldShortcut(press('z', ctrl), false), 'undo')
  assert.equal(heldShortcut(press('Z', { ...ctrl, shiftKey: true }), false), 'redo')
  assert.equal(heldShortcut(press('y', ctrl), false), 'redo')
  assert.equal(heldShortcut(press('z', meta), true), 'undo')
  assert.equal(heldShortcut(press('z', ctrl), true), null)
})

test('the sheet has a text for every shortcut, and no key twice where they hold at once', () => {
  for (const [group, shortcuts] of Object.entries(SHORTCUTS)) {
    assert.ok(en[`shortcuts.group_${group}`], group)
    const keys = shortcuts.flatMap(([name, ...all]) => {
      assert.ok(en[`shortcuts.${name}`], name)
      return all
    })
    if (group !== 'queue') assert.equal(new Set(keys).size, keys.length, group)
  }
  assert.deepEqual(keyNames('Mod+K', false), ['Alt', 'K'])
  assert.deepEqual(keyNames('Command+Shift+Z', true), ['⌘', '⇧', 'Z'])
})

test('letters are text in a field, but not in a box to tick', () => {
  const within = (selector) => ({ closest: (wanted) => (wanted.includes(selector) ? {} : null) })
  assert.equal(isTyping(within('textarea')), true)
  assert.equal(isTyping(within('button')), false)
})

test('times are read as they are written', () => {
  for (const [text, seconds] of [
    ['1:02.5', 62.5],
    ['1:03:02,25', 3782.25],
    ['7', 7],
    ['x', null],
    ['', null],
    ['1:', null],
    ['-3', null],
  ])
    assert.equal(parseClock(text), seconds, text)
  for (const seconds of [0, 62.5, 3782.25, 59.999])
    assert.ok(Math.abs(parseClock(preciseClock(seconds)) - seconds) < 0.006)
  assert.equal(preciseClock(62.5), '1:02.50')
})

test('a new segment goes into the pause, and at the end stays inside the recording', () => {
  const times = (...more) => timesAfter({ start: 4, end: 6 }, ...more)
  assert.deepEqual(times({ start: 7 }, 100), [6, 7])
  assert.deepEqual(times({ start: 20 }, 100), [6, 8])
  assert.deepEqual(times({ start: 5 }, 100), [5, 5.1])
  assert.deepEqual(times(undefined, 6), [5.9, 6])
})

test('what somebody types into one segment is one entry of the history', () => {
  const step = (number, seconds, more = {}) => ({
    number,
    author: 'ann',
    at: new Date(seconds * 1000).toISOString(),
    kind: 'set_text',
    data: { segment: 1, text: `${number}` },
    undone: false,
    ...more,
  })
  const grouped = groupedSteps([
    step(6, 400),
    step(5, 303, { author: 'ben' }),
    step(4, 302, { undone: true }),
    step(3, 301, { kind: 'several', data: { edits: [{ kind: 'delete', segments: [2] }] } }),
    step(2, 300),
    step(1, 200),
  ])
  assert.deepEqual(
    grouped.map(({ number, edits }) => [number, edits.length]),
    [
      [6, 1],
      [5, 1],
      [4, 1],
      [3, 1],
      [2, 2],
    ],
  )
  assert.deepEqual(
    grouped.at(-1).edits.map(({ text }) => text),
    ['1', '2'],
  )
})
