/** A task's timeline and its expected end as sentences. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { expectedText } from '../../static/text/expected-text.js'
import { language } from '../../static/text/language.js'
import { timelineRows, timelineText } from '../../static/text/timeline-text.js'

language.value = 'en'
afterEach(() => (language.value = 'en'))

const event = (code, data = {}, at = '2026-11-24T12:00:00Z') => ({
  at,
  code,
  text: `The server's words of ${code}.`,
  data,
})

test('every step is a sentence in the chosen language', () => {
  const started = event('started', {
    device: 'cuda:0',
    model: 'base',
    attempt: 2,
    progress: 0.25,
    waited_seconds: 47,
    reason: 'shortest',
  })
  assert.equal(
    timelineText(started),
    'Started on cuda:0 with base, attempt 2, continuing at 25%, after waiting 47 sec: it had the least work left',
  )
  assert.equal(timelineText(event('decoded', { audio_seconds: 3312 })), 'Audio decoded, 55 min')
  assert.equal(timelineText(event('completed', { seconds: 183, speed: 18.1 })), 'Done after 3 min · 18.1× real time')
  assert.equal(
    timelineText(event('memory', { step: 'batch_shrunk' })),
    'Out of memory: fewer windows at a time from here on',
  )
  language.value = 'zh'
  assert.equal(timelineText(event('prioritised', { priority: 'high' })), '优先级改为高')
  assert.match(timelineText(event('interrupted', { code: 'worker_died' })), /工作进程/)
})

test("an unknown step is shown in the server's words", () => {
  assert.equal(timelineText(event('of_tomorrow')), "The server's words of of_tomorrow.")
  assert.equal(timelineText(event('memory', { step: 'of_tomorrow' })), "The server's words of memory.")
  assert.equal(timelineText(event('interrupted', { code: 'worker_died' })), "The server's words of interrupted.")
})

test('an English sentence as the reason is left out in Chinese', () => {
  const started = event('started', { device: 'cpu', model: 'base', reason: 'waits: 1.3 GB short on cpu' })
  assert.match(timelineText(started), /: waits: 1.3 GB short on cpu$/)
  language.value = 'zh'
  assert.equal(timelineText(started), '在 cpu 上用 base 开始运行')
})

test('each step has its distance from the one before', () => {
  const rows = timelineRows([
    event('uploaded'),
    event('decoded', { audio_seconds: 3 }, '2026-11-24T12:00:01.500Z'),
    event('cancelled', {}, '2026-11-24T12:00:01Z'),
  ])
  assert.deepEqual(
    rows.map(({ gapSeconds }) => gapSeconds),
    [null, 1.5, 0],
  )
})

test('the expected end counts down and has a range', () => {
  const task = {
    receivedAt: 0,
    expected: { start_seconds: 40, end_seconds: 130, earliest_end_seconds: 70, latest_end_seconds: 250 },
  }
  assert.deepEqual(expectedText(task, 0), { end: 'done in about 2 min (1–4 min)', start: 'starts in about 40 sec' })
  assert.equal(expectedText(task, 60_000).end, 'done in about 70 sec (0–3 min)')
  assert.equal(expectedText({ receivedAt: 0, expected: null }, 0), null)
  assert.equal(expectedText({ receivedAt: 0, expected: { end_seconds: 5 } }, 9000).end, 'done in about 1 sec')
  language.value = 'zh'
  assert.equal(expectedText(task, 0).end, '约 2分钟后完成（1-4分钟）')
})
