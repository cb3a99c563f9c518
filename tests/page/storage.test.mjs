/** What is used of the disk follows what comes and goes. */
import assert from 'node:assert/strict'
import { beforeEach, mock, test } from 'node:test'
import { noteStored, readStorage, storage } from '../../static/state/storage.js'

let reads = 0

beforeEach(async () => {
  globalThis.document = { hidden: false, baseURI: 'http://localhost/' }
  mock.method(globalThis, 'fetch', async () => Response.json({ media_bytes: ++reads }))
  await readStorage()
  mock.timers.enable({ apis: ['setTimeout'] })
  reads = 0
})

test('forty files that arrive are one read', () => {
  for (let file = 0; file < 40; file += 1) noteStored()
  assert.equal(reads, 0)
  mock.timers.tick(2000)
  assert.equal(reads, 1)
  noteStored()
  mock.timers.tick(2000)
  assert.equal(reads, 2)
  mock.timers.reset()
})

test('a page that nobody looks at, or that does not show it, asks for nothing', () => {
  globalThis.document.hidden = true
  noteStored()
  mock.timers.tick(2000)
  globalThis.document.hidden = false
  storage.value = null
  noteStored()
  mock.timers.tick(2000)
  assert.equal(reads, 0)
  mock.timers.reset()
})
