/** An answer that was read before a task ended and arrives after the live feed has told of its end. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { batches, readBatches } from '../../static/state/batches.js'
import {
  applyAnswer,
  applyAnswered,
  applyNews,
  applySystem,
  counts,
  loadTask,
  refresh,
  refreshSystem,
  system,
  taskOf,
  touchesNow,
} from '../../static/state/store.js'

const realFetch = globalThis.fetch
afterEach(() => (globalThis.fetch = realFetch))

let made = 0
/** The same task, at work and completed. */
function taskInBothStates() {
  const known = { id: `task-${++made}`, filename: 'a.mp3', tags: [], created_at: '2026-11-30T03:37:31Z' }
  const running = { ...known, status: 'processing', progress: 0, started_at: '2026-11-30T03:37:32Z' }
  return { running, ended: { ...running, status: 'completed', progress: 1, finished_at: '2026-11-30T03:37:33Z' } }
}

const statusOf = ({ id }) => taskOf(id)?.peek()?.status

/** Requests are answered with this once `answer` is called. */
function heldFetch(body) {
  let answer
  const held = new Promise((resolve) => (answer = resolve))
  globalThis.fetch = () => held.then(() => Response.json(body))
  return () => answer()
}

test('the answer to an action does not bring an ended task back to work', async () => {
  const { running, ended } = taskInBothStates()
  let answer
  const applied = applyAnswer(new Promise((resolve) => (answer = resolve)))
  applyNews(ended)
  answer(running)
  assert.equal((await applied).status, 'processing')
  assert.equal(statusOf(ended), 'completed')
})

test('nor does the answer that an upload ends with', () => {
  const { running, ended } = taskInBothStates()
  const asked = touchesNow()
  applyNews(ended)
  applyAnswered(running, asked)
  assert.equal(statusOf(ended), 'completed')
})

test('nor does a task that is read, or the list', async () => {
  const { running, ended } = taskInBothStates()
  for (const [read, body] of [
    [() => loadTask(running.id), running],
    [refresh, { tasks: [running], next_cursor: null, counts: {} }],
  ]) {
    applyNews(running)
    const answer = heldFetch(body)
    const over = read()
    applyNews(ended)
    answer()
    await over
    assert.equal(statusOf(ended), 'completed')
  }
})

test('where nothing came meanwhile an answer is applied, whatever was known before', async () => {
  const { running, ended } = taskInBothStates()
  applyNews(ended)
  await applyAnswer(Promise.resolve(running))
  assert.equal(statusOf(ended), 'processing')
  heldFetch(ended)()
  await loadTask(ended.id)
  assert.equal(statusOf(ended), 'completed')
})

test('the numbers of tasks are those that were told last', async () => {
  for (const read of [refreshSystem, refresh]) {
    const answer = heldFetch({ tasks: [], next_cursor: null, counts: { processing: 1 } })
    const over = read()
    applySystem({ counts: { completed: 1 } })
    answer()
    await over
    assert.deepEqual([counts.peek(), system.peek().counts], [{ completed: 1 }, { completed: 1 }])
  }
  heldFetch({ counts: { completed: 2 } })()
  await refreshSystem()
  assert.deepEqual(counts.peek(), { completed: 2 })
})

test('of two answers about batches the one that was asked for last counts', async () => {
  const batchOf = (processing) => ({ batches: [{ id: 'b', owner: null, counts: { processing } }] })
  const first = heldFetch(batchOf(3))
  const early = readBatches()
  const second = heldFetch(batchOf(1))
  const late = readBatches()
  second()
  await late
  first()
  await early
  assert.deepEqual(batches.peek().b.counts, { processing: 1 })
})
