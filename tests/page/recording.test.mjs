/** Recordings made with the microphone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isWorthAsking, recordedMs, recordingName } from '../../static/state/recorded.js'

test('the length of a recording does not grow while it is paused', () => {
  assert.equal(recordedMs({ phase: 'recording', startedAt: 1000, before: 500 }, 4000), 3500)
  assert.equal(recordedMs({ phase: 'paused', startedAt: 0, before: 3500 }, 9000), 3500)
})

test('only a recording that is more than a try is asked about before it is discarded', () => {
  assert.deepEqual([0, 4999, 5000, 3_600_000].map(isWorthAsking), [false, false, true, true])
})

test('a recording is named by the moment at which it began, and by what it is', () => {
  const at = new Date(2026, 10, 9, 4, 5)
  assert.equal(recordingName('Recording', at, 'audio/webm;codecs=opus'), 'Recording 2026-11-09 04.05.webm')
  assert.equal(recordingName('Recording', at, 'audio/mp4'), 'Recording 2026-11-09 04.05.m4a')
  assert.equal(recordingName('Recording', at, ''), 'Recording 2026-11-09 04.05.webm')
})
