/** What a download asks of the server for the person's wishes about subtitles. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { archiveUrl, downloadUrl } from '../../static/api.js'
import {
  chooseSubtitles,
  cueFields,
  effective,
  needsWords,
  subtitleOptions,
  UNCUT,
} from '../../static/state/subtitle-options.js'
import { language } from '../../static/text/language.js'
import { subtitlesText } from '../../static/text/subtitles-text.js'

const LINES = { ...UNCUT, max_line_width: '42', max_line_count: '2' }

test('a text without word timestamps is asked for with a line width only', () => {
  chooseSubtitles({ ...LINES, highlight_words: true })
  assert.equal(needsWords.value, true)
  assert.deepEqual(cueFields('srt', false), { max_line_width: '42' })
  assert.equal(
    downloadUrl('1', 'srt', cueFields('srt', true)),
    'api/tasks/1/transcript?format=srt&max_line_width=42&max_line_count=2&highlight_words=true&download=true',
  )
})

test('formats without cues and wishes for nothing add nothing to the address', () => {
  chooseSubtitles(LINES)
  assert.equal(archiveUrl('docx', ['1', '2'], cueFields('docx', true)), 'api/transcripts.zip?format=docx&ids=1%2C2')
  chooseSubtitles(UNCUT)
  assert.equal(needsWords.value, false)
  assert.equal(archiveUrl('ass', [], cueFields('ass', true)), 'api/transcripts.zip?format=ass')
})

test('what has no effect beside the rest is left out', () => {
  assert.deepEqual(effective({ ...UNCUT, max_line_count: '2', max_words_per_line: '3' }), {
    ...UNCUT,
    max_words_per_line: '3',
  })
  assert.deepEqual(effective({ ...LINES, max_words_per_line: '3' }), LINES)
})

test('wishes are summed up in both languages', () => {
  chooseSubtitles({ ...LINES, highlight_words: true })
  const options = effective(subtitleOptions.value)
  assert.equal(subtitlesText(options), '42 characters, 2 lines, highlighted')
  assert.equal(subtitlesText(UNCUT), 'Same as the segments')
  language.value = 'zh'
  assert.equal(subtitlesText({ ...UNCUT, max_words_per_line: '1' }), '1 个词')
  language.value = 'en'
  assert.equal(subtitlesText({ ...UNCUT, max_words_per_line: '1' }), '1 word')
})
