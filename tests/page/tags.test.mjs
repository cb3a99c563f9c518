/** The tags that a person writes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withTags } from '../../static/state/tags.js'

test('several tags are written or pasted at once, with the commas of either language', () => {
  assert.deepEqual(withTags(['city'], 'harbour, night，海港、夜;'), ['city', 'harbour', 'night', '海港', '夜'])
})

test('a tag is there once, whatever its case', () => {
  assert.deepEqual(withTags(['Harbour'], 'HARBOUR, harbour, x, X'), ['Harbour', 'x'])
  assert.deepEqual(withTags(['Harbour'], ' , '), ['Harbour'])
})
