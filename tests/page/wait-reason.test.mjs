/** The reason for waiting stays up to date between two reports about a task. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { fetchOf } from '../../static/state/model-fetches.js'
import { models, system } from '../../static/state/store.js'
import { waitReasonNow } from '../../static/state/wait-reason.js'

const task = (waiting) => ({ waiting, options: { model: 'base' }, receivedAt: 10_000 })

for (const code of ['retry_delay', 'memory_delay'])
  test(`a ${code} counts down, but not below one second`, () => {
    const delayed = task({ code, data: { seconds: 8 } })
    assert.equal(waitReasonNow(delayed, null, 13_000).data.seconds, 5)
    assert.equal(waitReasonNow(delayed, null, 60_000).data.seconds, 1)
    assert.equal(waitReasonNow(delayed, null, 9_000).data.seconds, 8)
  })

test('a task waits for the download of its model', () => {
  const fetching = { model: 'base', done_bytes: 30, total_bytes: 120 }
  const expected = { code: 'model_fetching', data: { model: 'base', fraction: 0.25 } }
  assert.deepEqual(waitReasonNow(task({ code: 'tasks_ahead', data: { count: 0 } }), fetching, 0), expected)
  assert.deepEqual(waitReasonNow(task(null), fetching, 0), expected)
})

test('any other reason is the one that the server gave', () => {
  const waiting = { code: 'memory_short', data: { missing_bytes: 5 } }
  assert.equal(waitReasonNow(task(waiting), null, 0), waiting)
  assert.equal(waitReasonNow(task(null), null, 0), null)
})

test('models that are loaded from the same file share its download', () => {
  const fetching = { model: 'base', done_bytes: 30, total_bytes: 120 }
  models.value = {
    models: [
      { name: 'base-int8', weights: 'base' },
      { name: 'tiny', weights: 'tiny' },
    ],
  }
  system.value = { fetches: [fetching] }
  assert.deepEqual(['base', 'base-int8', 'tiny'].map(fetchOf), [fetching, fetching, null])
  const packed = { ...task(null), options: { model: 'base-int8' } }
  assert.equal(waitReasonNow(packed, fetchOf('base-int8'), 0).data.model, 'base-int8')
})
