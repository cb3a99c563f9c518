/** The files of one drop summed up, and refused files that outlive a reload. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchName, totalsOf } from '../../static/state/batch-totals.js'
import { keepRefused, refusedBefore } from '../../static/state/refused-files.js'

const state = (size, phase, progress = 0) => ({ size, phase, progress })

test('what has arrived counts with what is under way, by bytes', () => {
  const batch = { count: 4, bytes: 1000, arrived: 1, arrivedBytes: 100 }
  const totals = totalsOf(batch, [state(400, 'uploading', 0.5), state(400, 'queued'), state(100, 'waiting', 1)])
  assert.equal(totals.share, 0.4)
  assert.deepEqual([totals.arrived, totals.active, totals.count], [1, 3, 4])
})

test('a refused file and one that was sent before are not waited for', () => {
  const batch = { count: 3, bytes: 1000, arrived: 1, arrivedBytes: 100 }
  const totals = totalsOf(batch, [state(500, 'refused'), state(400, 'known')])
  assert.deepEqual([totals.share, totals.refused, totals.known, totals.active], [1, 1, 1, 0])
})

test('files without a byte do not divide by nothing', () => {
  assert.equal(totalsOf({ count: 1, bytes: 0, arrived: 0, arrivedBytes: 0 }, [state(0, 'queued')]).share, 0)
  assert.equal(totalsOf({ count: 1, bytes: 0, arrived: 0, arrivedBytes: 0 }, [state(0, 'refused')]).share, 1)
})

test('a drop is called by its first file', () => {
  assert.equal(batchName(['a.mp3', 'b.mp3', 'c.mp3']), 'a.mp3 + 2')
  assert.equal(batchName(['a.mp3']), 'a.mp3')
})

const storage = () => {
  const items = new Map()
  return {
    items,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
    removeItem: (key) => items.delete(key),
  }
}

test('refused files are read back with their reasons, and gone once they are dismissed', () => {
  const tab = storage()
  const file = { name: 'a.txt', size: 3, model: 'base', error: { code: 'unsupported_media', message: 'No sound.' } }
  keepRefused([file], tab)
  assert.deepEqual(refusedBefore(tab), [file])
  keepRefused([], tab)
  assert.equal(tab.items.size, 0)
})

test('what somebody else wrote there, or a browser that keeps nothing, is no fault', () => {
  const tab = storage()
  tab.setItem('whisper.refused', '{"not": "a list"}')
  assert.deepEqual(refusedBefore(tab), [])
  tab.setItem('whisper.refused', 'no JSON')
  assert.deepEqual(refusedBefore(tab), [])
  assert.deepEqual(refusedBefore(undefined), [])
  keepRefused([{ name: 'a' }], undefined)
})
