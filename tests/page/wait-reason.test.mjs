/** The reason for waiting stays up to date between two reports about a task. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { waitReasonNow } from '../../static/state/wait-reason.js'

const task = (waiting) => ({ waiting, options: { model: 'base' }, receivedAt: 10_000 })

for (const code of ['retry_delay', 'memory_delay'])
  test(`a ${code} counts down, but not below one second`, () => {
    const delayed = task({ code, data: { seconds: 8 } })
    assert.equal(waitReasonNow(delayed, [], 13_000).data.seconds, 5)
    assert.equal(waitReasonNow(delayed, [], 60_000).data.seconds, 1)
    assert.equal(waitReasonNow(delayed, [], 9_000).data.seconds, 8)
  })

test('a task waits for the download of its model', () => {
  const fetches = [{ model: 'base', done_bytes: 30, total_bytes: 120 }]
  const expected = { code: 'model_fetching', data: { model: 'base', fraction: 0.25 } }
  assert.deepEqual(waitReasonNow(task({ code: 'tasks_ahead', data: { count: 0 } }), fetches, 0), expected)
  assert.deepEqual(waitReasonNow(task(null), fetches, 0), expected)
})

test('any other reason is the one that the server gave', () => {
  const waiting = { code: 'memory_short', data: { missing_bytes: 5 } }
  assert.equal(waitReasonNow(task(waiting), [{ model: 'tiny', done_bytes: 0, total_bytes: 1 }], 0), waiting)
  assert.equal(waitReasonNow(task(null), undefined, 0), null)
})
