/** What is shown with an open text: doubtful places, the other language, the waveform, the subtitles' preview. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alignedTo } from '../../static/state/beside.js'
import { doubtOf, doubtsIn, nextDoubt } from '../../static/state/doubts.js'
import { betterModel, choicesFor } from '../../static/state/redo.js'
import { nameParts } from '../../static/util/name-parts.js'
import { firstCues } from '../../static/util/vtt.js'
import { barHeights, fitted, fullHeight } from '../../static/util/waveform.js'

const sure = { avg_logprob: -0.2, no_speech_prob: 0.01, compression_ratio: 1.4 }
const word = (start, probability) => ({ word: ' x', start, end: start + 0.5, probability })

test('a segment is doubtful beyond the limits of openai-whisper', () => {
  assert.equal(doubtOf(sure), null)
  assert.equal(doubtOf({}), null)
  assert.equal(doubtOf({ ...sure, avg_logprob: -1.2 }), 'unsure')
  assert.equal(doubtOf({ ...sure, no_speech_prob: 0.7 }), 'silence')
  assert.equal(doubtOf({ ...sure, avg_logprob: -2, compression_ratio: 3 }), 'repeats')
})

test('doubtful words one after the other are one place, and those of a doubtful segment belong to it', () => {
  const places = doubtsIn([
    { id: 0, start: 0, ...sure, words: [word(0, 0.9), word(1, 0.2), word(2, 0.1), word(3, 0.9), word(4, 0.4)] },
    { id: 1, start: 5, ...sure, avg_logprob: -3, words: [word(5, 0.1), word(6, 0.9), word(7, 0.1)] },
    { id: 2, start: 9, ...sure },
    { id: 3, start: 10, ...sure, words: [{ word: ' edited', start: 10, end: 11 }] },
  ])
  assert.deepEqual(places, [
    { id: 0, start: 1 },
    { id: 0, start: 4 },
    { id: 1, start: 5 },
  ])
  assert.equal(nextDoubt(places, 0).start, 1)
  assert.equal(nextDoubt(places, 1).start, 4)
  assert.equal(nextDoubt(places, 5).start, 1)
  assert.equal(nextDoubt([], 0), undefined)
})

test('each text of the other language stands beside the segment during which most of it is said', () => {
  const segment = (id, start, end, text) => ({ id, start, end, text })
  const original = [segment(0, 0, 4, ' eins'), segment(1, 4, 8, ' zwei'), segment(7, 20, 24, ' drei')]
  const others = [
    segment(0, 0, 2, ' one'),
    segment(1, 2, 4.5, ' more'),
    segment(2, 5, 9, ' two'),
    segment(3, 19, 23, ' three'),
  ]
  assert.deepEqual(
    [...alignedTo(original, others)],
    [
      [0, 'one more'],
      [1, 'two'],
      [7, 'three'],
    ],
  )
  assert.deepEqual([...alignedTo([], others)], [])
  assert.deepEqual([...alignedTo(original, [segment(0, 30, 31, ' late')])], [[7, 'late']])
})

test('what can be done again is what is selected, what is doubtful, and the present segment', () => {
  const segments = [
    { id: 0, ...sure },
    { id: 4, ...sure, no_speech_prob: 0.9 },
    { id: 5, ...sure, words: [word(1, 0.1), word(2, 0.9), word(3, 0.1)] },
  ]
  assert.deepEqual(choicesFor(segments, [0, 4], segments[0]), [
    { name: 'selected', ids: [0, 4] },
    { name: 'doubtful', ids: [4, 5] },
    { name: 'present', ids: [0] },
  ])
  assert.deepEqual(choicesFor([segments[0]], [], null), [])
})

test('the model to begin with is the largest one that is here and knows the language', () => {
  const model = (name, size_bytes, more = {}) => ({
    name,
    size_bytes,
    precision: 'default',
    is_multilingual: true,
    is_available: false,
    ...more,
  })
  const models = [
    model('tiny', 1, { is_available: true }),
    model('tiny.en', 1.1, { is_available: true, is_multilingual: false }),
    model('small', 3, { is_available: true }),
    model('small.en', 3, { is_available: true, is_multilingual: false }),
    model('medium', 5),
    model('large-int8', 9, { is_available: true, precision: 'int8' }),
  ]
  assert.equal(betterModel(models, { model: 'tiny', language: 'de' }), 'small')
  assert.equal(betterModel(models, { model: 'small', language: 'de' }), 'medium')
  assert.equal(betterModel(models.slice(0, 2), { model: 'tiny', language: 'en' }), 'tiny')
  assert.equal(betterModel(models, { model: 'medium', language: 'de' }), 'medium')
  assert.equal(betterModel([], { model: 'gone', language: null }), 'gone')
})

test('a bar has the average loudness of its part, so that speech is no solid block', () => {
  const peaks = Float32Array.from({ length: 1000 }, (_, at) => (at < 500 ? (at % 2 ? 1 : 0) : 1))
  const heights = barHeights(peaks, 10, fullHeight(peaks))
  assert.ok(heights[0] < 0.6)
  assert.equal(heights[9], 1)
  assert.equal(barHeights(peaks, 3000, 1).length, 3000)
  assert.equal(fullHeight(new Float32Array(4)), 1)
})

test('one bang does not make everything else flat', () => {
  const peaks = new Float32Array(1000).fill(0.1)
  peaks[500] = 1
  assert.ok(Math.abs(fullHeight(peaks) - 0.1) < 1e-6)
})

test('a waveform is as long as what is played', () => {
  const waveform = { peaks: new Float32Array(100).fill(0.5), secondsPerPeak: 0.1 }
  assert.equal(fitted(waveform, 10).length, 100)
  assert.equal(fitted(waveform, 20).length, 200)
  assert.equal(fitted(waveform, 20)[150], 0)
  assert.equal(fitted(waveform, 5).length, 50)
  assert.equal(fitted(waveform, 0).length, 100)
})

test('a long name keeps its ending, and no letter is cut in two', () => {
  assert.deepEqual(nameParts('short name.flac'), ['short name.flac', ''])
  assert.deepEqual(nameParts('Harbour walk, noisy 05.mp3'), ['Harbour wa', 'lk, noisy 05.mp3'])
  const long = `${'interview '.repeat(5)}👩🏽 part 0042.wav`
  const [start, end] = nameParts(long)
  assert.equal(start + end, long)
  assert.ok(end.endsWith('part 0042.wav'))
  assert.deepEqual(nameParts('ריאיון '.repeat(10)), ['ריאיון '.repeat(10), ''])
})

test('the preview shows the first cues as they are broken into lines, without their markup', () => {
  const vtt =
    'WEBVTT\n\n00:00.000 --> 00:02.000\nOne &amp;\n<u>two</u>\n\n1\n00:02.000 --> 00:03.000\nthree &lt;3\n\n00:04.000 --> 00:05.000\nfour\n'
  assert.deepEqual(firstCues(vtt, 2), ['One &\ntwo', 'three <3'])
  assert.deepEqual(firstCues('WEBVTT\n', 2), [])
})
