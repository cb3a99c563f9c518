/** What an upload says of speakers, and what is said of them. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { resetAdvanced, setAdvanced } from '../../static/state/advanced-options.js'
import { chosenFields } from '../../static/state/upload-options.js'
import { language } from '../../static/text/language.js'
import { errorText } from '../../static/text/messages.js'
import { timelineText } from '../../static/text/timeline-text.js'

test('how many people speak is sent only where they are to be told apart', () => {
  setAdvanced('num_speakers', '3')
  assert.deepEqual([chosenFields().speakers, chosenFields().num_speakers], ['', undefined])
  setAdvanced('speakers', 'true')
  assert.deepEqual([chosenFields().speakers, chosenFields().num_speakers], ['true', '3'])
  resetAdvanced()
  assert.deepEqual([chosenFields().speakers, chosenFields().num_speakers], ['', undefined])
})

test('why it is not known who speaks is said in both languages', () => {
  const data = { code: 'speakers_unknown', message: 'It is not known who speaks. Nobody has the weights.' }
  language.value = 'zh'
  assert.match(errorText(data), /^不知道是谁在说话.*Nobody has the weights/)
  language.value = 'en'
  assert.equal(timelineText({ code: 'speakers', text: '', data }), data.message)
})
