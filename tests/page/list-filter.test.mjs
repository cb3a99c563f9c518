/** What the list is narrowed to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_FILTER, narrowedBy, passes, queryOf } from '../../static/state/list-filter.js'

const task = {
  created_at: new Date('2026-11-29T13:00:00').toISOString(),
  audio_seconds: 600,
  options: { model: 'base' },
  owner: 'ann',
  tags: ['Interview', 'Zürich'],
}
const filter = (more) => ({ ...NO_FILTER, ...more })

test('nothing is narrowed at first, and an order alone narrows nothing', () => {
  assert.deepEqual(narrowedBy(NO_FILTER), [])
  assert.deepEqual(narrowedBy(filter({ sort: 'length', order: 'asc' })), [])
  assert.deepEqual(narrowedBy(filter({ tag: 'x', from: '2026-11-29' })), ['from', 'tag'])
  assert.ok(passes(task, NO_FILTER))
})

test('a day is the whole day of the person, and minutes are sent as seconds', () => {
  const query = queryOf(filter({ from: '2026-11-29', to: '2026-11-29', min_minutes: '1.5' }))
  assert.equal(Date.parse(query.to) - Date.parse(query.from), 86_400_000)
  assert.equal(query.min_seconds, 90)
  assert.equal(query.max_seconds, '')
})

test('a task that comes by itself is measured against every part of the filter', () => {
  const fitting = {
    from: '2026-11-29',
    to: '2026-11-29',
    min_minutes: '10',
    max_minutes: '10',
    model: 'base',
    owner: 'ann',
  }
  assert.ok(passes(task, filter({ ...fitting, tag: 'ZÜRICH' })))
  for (const wrong of [
    { from: '2026-11-30' },
    { to: '2026-11-28' },
    { min_minutes: '11' },
    { max_minutes: '9' },
    { model: 'small' },
    { owner: 'bob' },
    { tag: 'inter' },
  ]) {
    assert.ok(!passes(task, filter({ ...fitting, ...wrong })), JSON.stringify(wrong))
  }
  assert.ok(!passes({ ...task, audio_seconds: null }, filter({ max_minutes: '10' })))
})
