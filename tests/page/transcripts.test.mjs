/** Live text: nothing twice, nothing lost, nothing out of order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  applySegments,
  lastLine,
  resetTranscript,
  segmentAt,
  segmentCount,
  transcriptOf,
} from '../../static/state/transcripts.js'

const segment = (id, text = `segment ${id}`) => ({ id, start: id * 5, end: id * 5 + 5, text })
const texts = (id) => transcriptOf(id).value.segments.map((one) => one.text)

test('deliveries in order are appended', () => {
  assert.equal(applySegments({ id: 'a', seq: 1, from: 0, segments: [segment(0), segment(1)] }), true)
  assert.equal(applySegments({ id: 'a', seq: 2, from: 2, segments: [segment(2)] }), true)
  assert.deepEqual(texts('a'), ['segment 0', 'segment 1', 'segment 2'])
})

test('a delivery after a gap changes nothing and asks to watch again', () => {
  applySegments({ id: 'b', seq: 1, from: 0, segments: [segment(0)] })
  assert.equal(applySegments({ id: 'b', seq: 3, from: 4, segments: [segment(4)] }), false)
  assert.equal(segmentCount('b'), 1)
})

test('a stale delivery changes nothing', () => {
  applySegments({ id: 'c', seq: 5, from: 0, segments: [segment(0), segment(1)] })
  assert.equal(applySegments({ id: 'c', seq: 4, from: 0, segments: [segment(0, 'old')] }), true)
  assert.deepEqual(texts('c'), ['segment 0', 'segment 1'])
})

test('an overlapping delivery does not duplicate segments', () => {
  applySegments({ id: 'd', seq: 2, from: 0, segments: [segment(0), segment(1)] })
  applySegments({ id: 'd', seq: 3, from: 1, segments: [segment(1), segment(2)] })
  assert.deepEqual(texts('d'), ['segment 0', 'segment 1', 'segment 2'])
})

test('a silent window adds no text', () => {
  applySegments({ id: 'e', seq: 1, from: 0, segments: [segment(0, 'heard')] })
  assert.equal(applySegments({ id: 'e', seq: 2, from: 1, segments: [] }), true)
  assert.equal(lastLine(transcriptOf('e').value), 'heard')
})

test('a restarted task forgets its text and its sequence number', () => {
  applySegments({ id: 'f', seq: 7, from: 0, segments: [segment(0)] })
  resetTranscript('f')
  assert.equal(applySegments({ id: 'f', seq: 1, from: 0, segments: [segment(0, 'again')] }), true)
  assert.deepEqual(texts('f'), ['again'])
})

test('the segment at a position is the last one that has begun', () => {
  const segments = [segment(0), segment(1), segment(2)]
  assert.equal(segmentAt(segments, -1), null)
  assert.equal(segmentAt(segments, 0).id, 0)
  assert.equal(segmentAt(segments, 9.9).id, 1)
  assert.equal(segmentAt(segments, 500).id, 2)
  assert.equal(segmentAt([], 3), null)
})
