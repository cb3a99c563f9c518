/** How long things are kept. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { language } from '../../static/text/language.js'
import { removalOf, retentionText } from '../../static/text/retention-text.js'

language.value = 'en'
const NOW = Date.parse('2026-11-29T12:00:00Z')
const task = (more) => ({ media_removed_at: null, media_expires_at: null, text_expires_at: null, ...more })

test('what goes first is told, and whether that is soon', () => {
  const [soon, later] = ['2026-12-01T12:00:00.000Z', '2027-01-15T12:00:00.000Z']
  assert.deepEqual(removalOf(task({ media_expires_at: soon, text_expires_at: later }), NOW), {
    text: 'recording removed on Dec 1, 2026',
    isSoon: true,
  })
  assert.deepEqual(removalOf(task({ media_expires_at: later, text_expires_at: later }), NOW), {
    text: 'deleted on Jan 15, 2027',
    isSoon: false,
  })
  assert.equal(removalOf(task({ media_removed_at: soon }), NOW).text, 'recording removed')
  assert.equal(removalOf(task({}), NOW), null)
  assert.equal(removalOf({}, NOW), null)
})

test('what holds for all is announced until it begins', () => {
  const off = { media_days: null, media_from: null, text_days: null, text_from: null }
  assert.equal(retentionText(off, NOW), '')
  assert.equal(retentionText(undefined, NOW), '')
  const on = { ...off, media_days: 30, media_from: '2026-12-06T12:00:00.000Z' }
  assert.equal(
    retentionText(on, NOW),
    'Recordings are removed 30 days after they are done; their texts stay. This begins on Dec 6, 2026.',
  )
  assert.equal(
    retentionText({ ...off, text_days: 1, text_from: '2026-11-01T00:00:00.000Z' }, NOW),
    'Tasks are deleted with their texts 1 day after they are done.',
  )
})
