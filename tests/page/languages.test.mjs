/** Languages beside English and Chinese: each a file of its own. docs/translating.md says how to make one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addTexts, t } from '../../static/text/i18n.js'
import { LANGUAGES, language } from '../../static/text/language.js'
import { errorText } from '../../static/text/messages.js'
import { examine, languageFiles, textsOfTemplates } from './language-file.mjs'

test('texts that nothing shows, that cannot be filled in and that are missing are found', async () => {
  const found = await examine({
    'language.name': 'Deutsch',
    'queue.title': 'Warteschlange',
    'queue.titel': 'Warteschlange',
    'devices.of': '{used} von {all}',
    'devices.running': { one: '{count} Aufgabe läuft' },
    'slots.count': { one: '{taken} von {count}', other: '{taken} von {count}' },
    'slots.none': '',
    'error.empty_file': 'Die Datei ist leer.',
    'login.key': 'Schlüssel',
  })
  assert.deepEqual(found.unused, ['queue.titel'])
  assert.deepEqual(found.wrong, ['devices.of', 'devices.running', 'slots.none'])
  assert.ok(found.missing.includes('login.account') && found.missing.includes('app.skip'))
  assert.ok(!found.missing.includes('queue.title') && !found.missing.includes('error.empty_file'))
})

test('the templates hold texts', async () => {
  assert.equal((await textsOfTemplates())['login.submit'], 'Log in')
})

for (const [code, texts] of Object.entries(await languageFiles())) {
  test(`every text of ${code}.json is shown, and can be filled in`, async (context) => {
    const { unused, wrong, missing } = await examine(texts)
    if (missing.length)
      context.diagnostic(`${code}.json leaves ${missing.length} texts in English: ${missing.join(', ')}`)
    assert.deepEqual({ unused, wrong }, { unused: [], wrong: [] })
  })
}

test('what a language lacks is English, and its own numbers decide the form', () => {
  LANGUAGES.pl = { name: 'Polski', short: 'PL', locale: 'pl', direction: 'ltr' }
  addTexts('pl', {
    'queue.title': 'Kolejka',
    'devices.running': {
      one: '{count} zadanie',
      few: '{count} zadania',
      many: '{count} zadań',
      other: '{count} zadania',
    },
  })
  language.value = 'pl'
  assert.equal(t('queue.title'), 'Kolejka')
  assert.equal(t('queue.all'), 'All')
  assert.equal(t('devices.running', { count: 3 }), '3 zadania')
  assert.equal(t('devices.running', { count: 5 }), '5 zadań')
  assert.equal(errorText({ code: 'empty_file', message: 'The file is empty.' }), 'The file is empty.')
  language.value = 'en'
  delete LANGUAGES.pl
})
