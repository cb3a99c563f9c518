/** A search in the open text: which hits there are, and how the text is cut to mark them and its words. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findIn, termsOf } from '../../static/state/text-search.js'
import { wordAt } from '../../static/state/transcripts.js'
import { hitRanges, runsOf, wordRanges } from '../../static/util/text-runs.js'

const segments = [
  { id: 0, text: ' The cat sat on the mat. The cat slept.' },
  { id: 1, text: ' Nothing here.' },
  { id: 4, text: ' A dog saw the CAT (once).' },
]
const words = (...names) => names.map((word, index) => ({ word, start: index, end: index + 0.5 }))

test('hits are counted, not segments', () => {
  const { places, segmentCount } = findIn(segments, 'cat')
  assert.deepEqual(places, [
    { id: 0, index: 0 },
    { id: 0, index: 1 },
    { id: 4, index: 0 },
  ])
  assert.equal(segmentCount, 2)
})

test('a phrase is looked for first, then its words wherever they stand', () => {
  assert.equal(findIn(segments, 'the  mat').places.length, 1)
  assert.deepEqual(
    findIn(segments, 'dog slept').places.map(({ id }) => id),
    [0, 4],
  )
  assert.equal(findIn(segments, '"cat dog"').places.length, 0)
})

test('what stands in quotes is one term, and signs of regular expressions are signs', () => {
  assert.deepEqual(termsOf('"new york"  (times'), ['new york', '(times'])
  assert.equal(findIn(segments, '(once).').places.length, 1)
  assert.equal(findIn(segments, '.*').places.length, 0)
  assert.equal(findIn(segments, '   ').pattern, null)
})

test('a letter that is longer in lower case does not move the hits after it', () => {
  const text = 'İİİ needle'
  const [[from, to]] = hitRanges(text, findIn([{ id: 0, text }], 'needle').pattern)
  assert.equal(text.slice(from, to), 'needle')
})

test('words are found in the text in their order, and one that is not there has no place', () => {
  const text = 'No, no man is.'
  assert.deepEqual(wordRanges(text, words(' No,', ' no', ' lost', ' man', ' is.')), [
    [0, 3],
    [4, 6],
    null,
    [7, 10],
    [11, 14],
  ])
})

test('a text without spaces is cut at its words, too', () => {
  assert.deepEqual(wordRanges('你好世界', words('你好', '世界')), [
    [0, 2],
    [2, 4],
  ])
})

test('the runs of a text are the whole text, and a hit over two words starts in the first', () => {
  const text = 'one two three'
  const runs = runsOf(text, wordRanges(text, words(' one', ' two', ' three')), [[2, 5]])
  assert.equal(runs.flatMap(({ parts }) => parts.map((part) => part.text)).join(''), text)
  assert.deepEqual(
    runs.map(({ word }) => word),
    [0, null, 1, null, 2],
  )
  const marked = runs.flatMap(({ parts }) => parts).filter(({ hit }) => hit === 0)
  assert.deepEqual(
    marked.map(({ text, isStart }) => [text, isStart]),
    [
      ['e', true],
      [' ', false],
      ['t', false],
    ],
  )
})

test('the word at a position is the last one that has begun', () => {
  const said = words('a', 'b', 'c')
  assert.equal(wordAt(said, -1), -1)
  assert.equal(wordAt(said, 1), 1)
  assert.equal(wordAt(said, 1.9), 1)
  assert.equal(wordAt(said, 100), 2)
  assert.equal(wordAt(undefined, 1), -1)
})
