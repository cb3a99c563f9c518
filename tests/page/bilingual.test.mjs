/** Which other task of a recording goes into one file with this one. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { originalOf, otherHalf } from '../../static/state/bilingual.js'

const of = (id, task, track) => ({ id, options: { task }, tracks: track && [{ index: track, chosen: true }] })
const TEXT = of('text', 'transcribe')
const NEWER = of('newer', 'translate')

test('the newest translation goes with a text, and the text with a translation', () => {
  const tasks = [NEWER, of('older', 'translate'), TEXT]
  assert.equal(otherHalf(TEXT, tasks), NEWER)
  assert.equal(otherHalf(NEWER, tasks), TEXT)
  assert.equal(originalOf(NEWER, TEXT), TEXT)
  assert.equal(originalOf(TEXT, NEWER), TEXT)
})

test('a text alone, and another sound track, have no other half', () => {
  assert.equal(otherHalf(TEXT, [TEXT]), null)
  assert.equal(otherHalf(of('german', 'transcribe', 1), [of('french', 'translate', 2)]), null)
  assert.equal(otherHalf(of('german', 'transcribe', 1), [NEWER]), NEWER) // From before tracks were noted.
})
