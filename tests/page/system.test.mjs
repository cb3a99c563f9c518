/** The figures, curves and sentences of the System view. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { bandColour, modelColour, styled, withAlpha } from '../../static/plots/colours.js'
import { extraCurve, queueCurves, speedCurves, waitCurves } from '../../static/plots/curves.js'
import { devicesIn, memoryBands, memoryNow } from '../../static/plots/memory-bands.js'
import { column, extremes, isolated, stacked, withGaps } from '../../static/plots/stacking.js'
import { allowedTasks, slotsOf, withLiveProgress } from '../../static/state/devices.js'
import { linesFrom, mergeEvents } from '../../static/state/event-log.js'
import { decisionText, eventText, tuningFigures, tuningText } from '../../static/text/event-text.js'
import { language } from '../../static/text/language.js'

language.value = 'en'
afterEach(() => (language.value = 'en'))

const GAP = { at: 0, isGap: true }
const sample = (at, more = {}) => ({ at, span_seconds: 30, ...more })

test('columns are stacked, and a moment without any figure stays empty', () => {
  assert.deepEqual(
    stacked([
      [1, 2, null],
      [10, 20, null],
      [0, 5, null],
    ]),
    [
      [1, 2, null],
      [11, 22, null],
      [11, 27, null],
    ],
  )
  assert.deepEqual(
    stacked([
      [1, null],
      [null, 2],
    ]),
    [
      [1, 0],
      [1, 2],
    ],
  )
  assert.deepEqual(stacked([]), [])
})

test('a pause longer than three samples breaks the lines', () => {
  const whole = withGaps([sample(0), sample(30), sample(119), sample(300)])
  assert.deepEqual(
    whole.map(({ at, isGap = false }) => [at, isGap]),
    [
      [0, false],
      [30, false],
      [119, false],
      [149, true],
      [300, false],
    ],
  )
  assert.deepEqual(
    column([sample(0, { running: 2 }), GAP], (one) => one.running),
    [2, null],
  )
})

test('a metric of another package has a gap where a sample has none', () => {
  assert.deepEqual(extraCurve([sample(0, { extra: { lamps: 4 } }), sample(30, { extra: {} }), sample(60)], 'lamps'), {
    key: 'lamps',
    values: [4, null, null],
  })
})

test('the extremes of a column leave out what was not measured', () => {
  assert.deepEqual(extremes([3, null, 1, 2, null]), { least: 1, most: 3, last: 2 })
  assert.equal(extremes([null, null]), null)
  assert.equal(extremes([]), null)
})

test('figures without a neighbour are found, so that they can be drawn as points', () => {
  assert.deepEqual(isolated([1, null, 2, 3, null, null, 4]), [0, 6])
})

const memory = { total: 100, headroom: 6, reserved: 60, used: 66, others: 5, models: { small: 20, base: 10 } }

test('memory is stacked as other programs, models, tasks, and use beyond all reservations', () => {
  const { bands, total, measured } = memoryBands([sample(0, { devices: { 'cuda:0': memory } }), GAP], 'cuda:0')
  assert.deepEqual(
    bands.map(({ kind, model, bytes }) => [kind, model, bytes]),
    [
      ['others', undefined, [5, null]],
      ['model', 'base', [10, null]],
      ['model', 'small', [20, null]],
      ['tasks', undefined, [30, null]],
      ['beyond', undefined, [6, null]],
    ],
  )
  assert.deepEqual(
    [total, measured],
    [
      [100, null],
      [71, null],
    ],
  )
})

test('a band that is always empty is left out, and a missing device leaves a gap', () => {
  const samples = [
    sample(0, { devices: { a: { ...memory, used: 10, others: 0, models: {} } } }),
    sample(30, { devices: {} }),
  ]
  assert.deepEqual(devicesIn([...samples, GAP]), ['a'])
  assert.deepEqual(memoryBands(samples, 'a').bands, [{ kind: 'tasks', bytes: [60, null] }])
})

test('the bands of this moment are computed like those of the plot', () => {
  const models = [
    { name: 'base', reserved_bytes: 10 },
    { name: 'small', reserved_bytes: 20 },
  ]
  const kinds = memoryNow({ others: 5, reserved: 60, used: 66, models }).map(({ kind, model, bytes }) => [
    kind,
    model,
    bytes,
  ])
  assert.deepEqual(kinds, [
    ['others', undefined, 5],
    ['model', 'base', 10],
    ['model', 'small', 20],
    ['tasks', undefined, 30],
    ['beyond', undefined, 6],
  ])
})

test('a wait or a speed that was not measured is null', () => {
  const samples = [
    sample(0, { running: 1, waiting: 2, retrying: 0, mean_wait_seconds: null, p95_wait_seconds: null, speeds: {} }),
    sample(30, {
      running: 1,
      waiting: 0,
      retrying: 0,
      mean_wait_seconds: 4,
      p95_wait_seconds: 9,
      speeds: { 'cuda:0': { base: 90 } },
    }),
  ]
  assert.deepEqual(queueCurves(samples)[1], { key: 'waiting', values: [2, 0] })
  assert.deepEqual(waitCurves(samples), [
    { key: 'p95', values: [null, 9] },
    { key: 'mean', values: [null, 4] },
  ])
  assert.deepEqual(speedCurves(samples), [{ key: 'base cuda:0', model: 'base', device: 'cuda:0', values: [null, 90] }])
})

test('a model has the colour of its family, and a variant is fainter', () => {
  assert.equal(modelColour('large-v3').token, '--plot-large')
  assert.equal(modelColour('tiny.en').token, modelColour('tiny').token)
  assert.ok(modelColour('tiny.en').alpha < modelColour('tiny').alpha)
  assert.equal(modelColour('large-v3-int8').token, '--plot-large')
  const models = ['base', 'base.en', 'base-int8', 'base.en-int8']
  const alphas = models.map((model) => modelColour(model).alpha)
  assert.deepEqual(
    alphas,
    [...new Set(alphas)].sort((a, b) => b - a),
  )
  assert.equal(styled(bandColour({ kind: 'tasks' })), 'var(--plot-tasks)')
  assert.equal(withAlpha('#112233', 0.5), '#11223380')
  assert.equal(withAlpha('#112233', 1), '#112233')
})

const DECISION = {
  task_id: 'x',
  device: 'cuda:0',
  model: 'base',
  waited_seconds: 120,
  why: 'shortest',
  passed: 3,
  load_model: true,
  evict: ['small'],
}

test('a decision says what started where, and why', () => {
  assert.equal(
    decisionText(DECISION),
    'started on cuda:0 with base after 2 min: it had the least work left; ahead of 3 earlier tasks; base was loaded for it; small unloaded to make room',
  )
  assert.equal(
    decisionText({ ...DECISION, why: 'of_tomorrow', passed: 0, load_model: false, evict: [] }),
    'started on cuda:0 with base after 2 min',
  )
  assert.equal(
    decisionText({ task_id: 'x', device: 'cuda:0', for_task: 'y' }, () => 'b.mp3'),
    'steps aside on cuda:0 for b.mp3, which is shorter or more urgent',
  )
  assert.equal(decisionText({ task_id: 'x' }), null)
  language.value = 'zh'
  assert.match(decisionText(DECISION), /^等待 2分钟后在 cuda:0 上用 base 开始运行：它剩余的工作量最小；/)
})

test("an event without a translation is shown in the server's words", () => {
  const idle = { kind: 'model', text: 'small leaves.', data: { model: 'small', device: 'cuda:0', idle_seconds: 900 } }
  assert.equal(eventText(idle), 'small leaves.')
  language.value = 'zh'
  assert.match(eventText(idle), /^small 已从 cuda:0 卸载.*15分钟/)
  const data = { step: 'reservation_raised', model: 'small', device: 'cuda:0', needed_bytes: 2e9 }
  assert.match(eventText({ kind: 'memory', text: 'small takes more.', data }), /^small 在 cuda:0 上.*提高到 2/)
  assert.equal(eventText({ kind: 'memory', text: 'What is new.', data: { step: 'new' } }), 'What is new.')
  assert.equal(eventText({ kind: 'device', text: 'cuda:1 is ready', data: {} }), 'cuda:1 is ready')
  const expired = { action: 'media_expired', by: 'server', days: 30, task_id: 'a' }
  assert.match(
    eventText({ kind: 'audit', text: 'A recording was removed.', data: expired }),
    /30 天后按 KEEP_MEDIA_DAYS/,
  )
})

const ids = (events) => events.map(({ id }) => id)
const eventsOf = (...wanted) => wanted.map((id) => ({ id }))

test('new events come before the known ones, without duplicates or a gap', () => {
  assert.deepEqual(ids(mergeEvents(eventsOf(4, 3, 2, 1), eventsOf(6, 5, 4, 3))), [6, 5, 4, 3, 2, 1])
  assert.deepEqual(ids(mergeEvents([], eventsOf(2, 1))), [2, 1])
  assert.deepEqual(ids(mergeEvents(eventsOf(2, 1), eventsOf(9, 8, 7))), [9, 8, 7])
})

const CHANGE = {
  text: 'MAX_CONCURRENT_TASKS=11 stays.',
  data: {
    setting: 'max_concurrent_tasks',
    step: 'kept',
    before: 8,
    after: 11,
    throughput_before: 100,
    throughput_after: 109,
  },
}

test('a change shows both values, and its effect where that was measured', () => {
  assert.equal(tuningFigures(CHANGE).values, '8 → 11')
  assert.ok(Math.abs(tuningFigures(CHANGE).effect - 0.09) < 1e-9)
  assert.equal(tuningFigures({ data: { ...CHANGE.data, throughput_after: null } }).effect, null)
  assert.equal(tuningFigures({ text: 'something else', data: {} }), null)
  assert.equal(tuningText(CHANGE), CHANGE.text)
  language.value = 'zh'
  assert.equal(tuningText(CHANGE), '同时运行的任务数：保留 11，原为 8')
  assert.equal(tuningText({ text: 'something else', data: {} }), 'something else')
})

test('slots without a task are free, and none are when more tasks run than there are slots', () => {
  assert.equal(slotsOf({ slots: 4, tasks: [{}, {}] }).free, 2)
  assert.deepEqual(slotsOf({ slots: 1, tasks: [{ id: 'a' }, { id: 'b' }] }), {
    taken: [{ id: 'a' }, { id: 'b' }],
    free: 0,
  })
  assert.deepEqual(slotsOf({}), { taken: [], free: 0 })
})

test('live progress replaces that of the last report, and the time left counts down', () => {
  const live = { status: 'processing', progress: 0.5, eta_seconds: 20, receivedAt: 1000 }
  assert.deepEqual(withLiveProgress({ progress: 0.2, eta_seconds: 60 }, live, 6000), { progress: 0.5, eta_seconds: 15 })
  assert.deepEqual(withLiveProgress({ progress: 0.2, eta_seconds: 60 }, undefined, 6000), {
    progress: 0.2,
    eta_seconds: 60,
  })
})

test('log lines are filtered by level, newest first', () => {
  const lines = ['INFO', 'ERROR', 'DEBUG', 'WARNING'].map((level, at) => ({ level, at }))
  assert.deepEqual(
    linesFrom(lines, 'WARNING').map(({ at }) => at),
    [3, 1],
  )
  assert.equal(linesFrom(lines, 'DEBUG').length, 4)
})

test('as many tasks may run as the limit and the slots of all devices let', () => {
  const devices = [{ slots: 8 }, { slots: 6 }]
  assert.equal(allowedTasks({ devices, limits: { max_concurrent_tasks: 16 } }), 14)
  assert.equal(allowedTasks({ devices, limits: { max_concurrent_tasks: 11 } }), 11)
  assert.equal(allowedTasks({ devices }), 14)
})
