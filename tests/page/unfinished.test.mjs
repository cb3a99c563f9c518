/** Which uploads an earlier visit has left, and of which file each is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fingerprintOf, isFileOf, keptUploads } from '../../static/state/unfinished.js'

const ENDPOINT = 'http://here/api/uploads'
const NOW = Date.parse('2026-11-29T12:00:00Z')
const FILE = { name: 'a.wav', type: 'audio/wav', size: 10, lastModified: 5 }

const keyOf = (file, id = 1) => `tus::${fingerprintOf(file, ENDPOINT)}::${id}`
const kept = (more = {}) =>
  JSON.stringify({
    size: 10,
    metadata: { filename: 'a.wav', filetype: 'audio/wav', model: 'tiny', batch: 'b' },
    creationTime: '2026-11-29T11:00:00Z',
    uploadUrl: `${ENDPOINT}/1`,
    ...more,
  })

/** As localStorage: its keys are the object's own. */
function storage(items) {
  const object = { ...items }
  for (const [name, value] of Object.entries({
    getItem: (key) => object[key] ?? null,
    removeItem: (key) => delete object[key],
  }))
    Object.defineProperty(object, name, { value, enumerable: false })
  return object
}

test('an upload is told with the options it was begun with', () => {
  const found = keptUploads(ENDPOINT, { storage: storage({ [keyOf(FILE)]: kept(), other: 'x' }), now: NOW })
  assert.equal(found.length, 1)
  const [{ url, name, size, fields }] = found
  assert.deepEqual(
    { url, name, size, fields },
    { url: `${ENDPOINT}/1`, name: 'a.wav', size: 10, fields: { model: 'tiny', batch: 'b' } },
  )
})

test('only the same file is its file', () => {
  const begun = { key: keyOf(FILE), endpoint: ENDPOINT }
  assert.ok(isFileOf(FILE, begun))
  for (const change of [{ name: 'b.wav' }, { size: 11 }, { lastModified: 6 }]) {
    assert.ok(!isFileOf({ ...FILE, ...change }, begun))
  }
})

test('what is too old is removed, and what is of another page or no upload is left alone', () => {
  const items = storage({
    [keyOf(FILE, 1)]: kept({ creationTime: '2026-11-01T00:00:00Z' }),
    [keyOf(FILE, 2)]: kept({ uploadUrl: 'http://here/below/api/uploads/1' }),
    [keyOf(FILE, 3)]: 'no JSON',
  })
  assert.deepEqual(keptUploads(ENDPOINT, { storage: items, now: NOW }), [])
  assert.deepEqual(Object.keys(items), [keyOf(FILE, 2), keyOf(FILE, 3)])
})
