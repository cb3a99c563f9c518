/** The texts in both languages, and the formats of numbers and times. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { secondsOf } from '../../static/api.js'
import { titleOf } from '../../static/state/devices.js'
import en from '../../static/text/en.js'
import { eventText } from '../../static/text/event-text.js'
import { formatClock, formatSpan, formatWait, languageName } from '../../static/text/format.js'
import { sentences, t } from '../../static/text/i18n.js'
import { firstLanguage, language } from '../../static/text/language.js'
import { adviceText, errorText, formatAgo, waitReasonText } from '../../static/text/messages.js'
import { trackText } from '../../static/text/track-text.js'
import zh from '../../static/text/zh.js'

const STATIC = new URL('../../static/', import.meta.url)

test('every English text has a Chinese one', () => {
  assert.deepEqual(
    Object.keys(en).filter((key) => !(key in zh)),
    [],
  )
})

test('only Chinese has texts for errors, their details and advice, which the server words in English', () => {
  assert.deepEqual(
    Object.keys(zh).filter((key) => !(key in en) && !/^(error|detail|advice)\./.test(key)),
    [],
  )
})

test('both languages fill in the same values', () => {
  const names = (entry) => [...new Set(JSON.stringify(entry).match(/\{\w+\}/g) ?? [])].sort()
  for (const key of Object.keys(en)) {
    const allowed = names(en[key]).concat('{count}')
    assert.ok(
      names(zh[key]).every((name) => allowed.includes(name)),
      key,
    )
  }
})

test('every text that a module names exists', async () => {
  const groups = new Set(Object.keys(en).map((key) => key.split('.')[0]))
  for (const file of await modules()) {
    const text = await readFile(file, 'utf8')
    for (const [, key, group] of text.matchAll(/'((\w+)\.\w+)'/g)) {
      if (groups.has(group) && !isDictionary(file)) assert.ok(key in en, `${key} in ${file.pathname}`)
    }
  }
})

test('every text is used', async () => {
  const keys = new Set()
  const prefixes = new Set()
  for (const file of await modules()) {
    if (isDictionary(file)) continue
    const text = await readFile(file, 'utf8')
    for (const [, key] of text.matchAll(/'(\w+\.\w+)'/g)) keys.add(key)
    for (const [, prefix] of text.matchAll(/`(\w+\.\w*)\$\{/g)) prefixes.add(prefix)
  }
  const isUsed = (key) => keys.has(key) || [...prefixes].some((prefix) => key.startsWith(prefix))
  assert.deepEqual(
    Object.keys(en).filter((key) => !isUsed(key)),
    [],
  )
})

test('no module writes markup or evaluates code', async () => {
  for (const file of await modules())
    assert.doesNotMatch(await readFile(file, 'utf8'), /innerHTML|outerHTML|insertAdjacentHTML|\beval\(/, file.pathname)
})

test("the first of the browser's languages that the page knows wins", () => {
  assert.equal(firstLanguage(['fr-FR', 'zh-TW', 'en']), 'zh')
  assert.equal(firstLanguage(['fr']), 'en')
})

test('lengths, ages and numbers are formatted for readers', () => {
  language.value = 'en'
  assert.equal(formatClock(65), '1:05')
  assert.equal(formatClock(3723.9), '1:02:03')
  assert.equal(t('devices.running', { count: 1 }), '1 task running')
  assert.equal(t('devices.running', { count: 2000 }), '2,000 tasks running')
  assert.equal(formatAgo('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:05:00Z')), '5 minutes ago')
  assert.equal(formatWait(0.027), '27 ms')
  assert.equal(formatWait(3), '3 sec')
  assert.equal(formatSpan(0.027), '1 sec')
  assert.equal(secondsOf('7'), 7)
  assert.equal(secondsOf('Thu, 01 Jan 2026 00:00:10 GMT', Date.parse('2026-01-01T00:00:00Z')), 10)
})

test("a reason to wait is shown in the chosen language, or in the server's words", () => {
  language.value = 'zh'
  assert.match(
    waitReasonText({ code: 'memory_short', data: { missing_bytes: 1.3e9, device: 'cuda:0' } }, ''),
    /cuda:0.*1\.3/,
  )
  const lacking = { code: 'model_lacking', data: { model: 'base', devices: 'one-cuda:0, two-cpu' } }
  assert.match(waitReasonText(lacking, ''), /one-cuda:0, two-cpu.*base/)
  assert.equal(waitReasonText({ code: 'of_tomorrow', data: {} }, 'waits: something new'), 'waits: something new')
  language.value = 'en'
  assert.match(waitReasonText(lacking, ''), /base.*one-cuda:0, two-cpu/)
  assert.equal(waitReasonText({ code: 'tasks_ahead', data: { count: 1 } }, ''), '1 task ahead')
})

test("an error is shown in the server's words in English and translated in Chinese", () => {
  const error = { code: 'empty_file', message: 'The file is empty.' }
  language.value = 'en'
  assert.equal(errorText(error), 'The file is empty.')
  language.value = 'zh'
  assert.equal(errorText(error), '文件是空的。')
  assert.equal(errorText({ code: 'of_tomorrow', message: 'New.' }), 'New.')
  language.value = 'en'
})

test('what is wrong with an option is said in Chinese with its values', () => {
  const refused = (message) => errorText({ code: 'invalid_option', message })
  assert.equal(refused('Must be a number from 0 to 1, or none.'), 'Must be a number from 0 to 1, or none.')
  language.value = 'zh'
  assert.equal(refused('Must be a number from 0 to 1, or none.'), '必须是 0 到 1 之间的数，或填 none。')
  assert.equal(refused('Must be one of exact, vad.'), '必须是以下之一：exact, vad。')
  assert.equal(refused('It has to end after it starts.'), '结束时间必须晚于开始时间。')
  assert.equal(refused('Of tomorrow.'), '有一个选项的值无效。 (Of tomorrow.)')
  language.value = 'en'
})

test('a processor, and what becomes of devices and models, is said in the chosen language', () => {
  assert.equal(titleOf({ name: 'cpu', title: 'CPU, 1 threads' }), 'CPU, 1 thread')
  language.value = 'zh'
  assert.equal(titleOf({ name: 'cpu', title: 'CPU, 2 threads' }), 'CPU，2 个线程')
  assert.equal(titleOf({ name: 'cuda:0', title: 'NVIDIA H200' }), 'NVIDIA H200')
  const event = (kind, data) => eventText({ kind, text: 'In English.', data })
  assert.equal(event('device', { device: 'cpu', state: 'ready', slots: 4 }), 'cpu 已就绪，可同时运行 4 个任务')
  const loaded = { device: 'cpu', model: 'base', state: 'loaded', seconds: 3, bytes: 145e6 }
  assert.match(event('model', loaded), /^base 已加载到 cpu，用时3.*，占用 145 MB$/)
  assert.equal(
    event('model', { ...loaded, state: 'failed', code: 'weights_damaged' }),
    'base 无法加载到 cpu：模型权重的校验和不符，没有加载。',
  )
  assert.equal(event('device', { device: 'cpu' }), 'In English.')
  assert.equal(languageName('bo', 'tibetan'), '藏语')
  language.value = 'en'
})

test("advice is shown in the server's words in English and translated with its figures in Chinese", () => {
  const advice = {
    code: 'raise_concurrency',
    text: 'Raise it.',
    data: { device: 'cuda:0', free_bytes: 9e9, waiting: 14 },
  }
  assert.equal(adviceText(advice), 'Raise it.')
  language.value = 'zh'
  assert.match(adviceText(advice), /cuda:0 有 9 GB 空闲，而 14 个任务/)
  assert.equal(adviceText({ code: 'of_tomorrow', text: 'New.', data: {} }), 'New.')
  language.value = 'en'
})

test('sentences are joined as the language does it, and missing ones are left out', () => {
  language.value = 'en'
  assert.equal(sentences('One.', null, 'Two.'), 'One. Two.')
  language.value = 'zh'
  assert.equal(sentences('一。', null, '二。'), '一。二。')
  language.value = 'en'
})

const isDictionary = (file) => /\/text\/(en|zh)/.test(file.pathname)

async function modules() {
  const names = await readdir(STATIC, { recursive: true })
  return names
    .filter((name) => name.endsWith('.js') && !/^(vendor|built)/.test(name))
    .map((name) => new URL(name, STATIC))
}

test('a sound track is told by what is known of it', () => {
  const track = { index: 2, language: 'ger', title: 'Kommentar', channels: 6, default: true }
  assert.equal(trackText(track), 'Sound track 2 · German · Kommentar · 6 channels · default')
  assert.equal(trackText({ index: 1, language: null, title: null, channels: null, default: false }), 'Sound track 1')
})
