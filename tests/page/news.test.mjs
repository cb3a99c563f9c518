/** What is said when recordings are done. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { language } from '../../static/text/language.js'
import { newsText, pageTitle } from '../../static/text/news-text.js'

language.value = 'en'
afterEach(() => (language.value = 'en'))

const done = (name, status = 'completed') => ({ name, status })

test('one recording is named, several are counted, and what is left is said', () => {
  assert.equal(newsText([done('a.mp3')], 0), 'a.mp3 is done.')
  assert.equal(newsText([done('a.mp3'), done('b.mp3')], 3), '2 recordings are done. 3 are still to come.')
  assert.equal(
    newsText([done('a.mp3'), done('b.mp3', 'failed')], 1),
    'a.mp3 is done. b.mp3 failed. 1 is still to come.',
  )
  language.value = 'zh'
  assert.equal(newsText([done('a.mp3'), done('b.mp3', 'failed')], 0), 'a.mp3 已完成。b.mp3 失败。')
})

test('the title of the tab counts what is left and what was done unseen', () => {
  const title = (more) => pageTitle({ unseen: 0, left: 0, viewName: '', productName: 'Name', ...more })
  assert.equal(title({}), 'Name')
  assert.equal(title({ left: 1200 }), '(1,200) Name')
  assert.equal(title({ unseen: 3, left: 2, viewName: 'System' }), '✓ 3 (2) System · Name')
})
