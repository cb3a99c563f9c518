/** Where a waiting task can be moved to by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canDrop, neighbourOf } from '../../static/state/reorder.js'

const task = (id, more) => ({ id, status: 'pending', priority: 'normal', ...more })
const line = [task('a', { priority: 'high' }), task('b'), task('c'), task('d', { owner: 'ann' }), task('e')]
const [a, b, c, d, e] = line

test('a task moves past its neighbour of the same priority and owner, and stays at either end', () => {
  assert.deepEqual(neighbourOf(line, c, -1), { id: 'b', isAfter: false })
  assert.deepEqual(neighbourOf(line, c, 1), { id: 'e', isAfter: true })
  assert.equal(neighbourOf(line, b, -1), null)
  assert.equal(neighbourOf(line, e, 1), null)
  assert.equal(neighbourOf(line, d, 1), null)
})

test('a task is dropped beside waiting ones of its own priority and owner only', () => {
  assert.ok(canDrop(b, e))
  assert.ok(!canDrop(b, a))
  assert.ok(!canDrop(b, d))
  assert.ok(!canDrop(b, b))
  assert.ok(!canDrop(b, { ...e, status: 'processing' }))
  assert.ok(!canDrop(b, undefined))
})
