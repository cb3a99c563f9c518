/** Steps of a transcript's history as sentences. */
import { formatClock, formatNumber } from './format.js'
import { joined, lookUp, t } from './i18n.js'
import { speakerName } from './speaker-text.js'

const LONGEST = 80

/** edits: of one step, [{kind, …}]. */
export function editsText(edits, speakers) {
  const [first, ...others] = edits
  if (others.length > 0 && others.every(({ kind }) => kind === first.kind) && first.kind === 'set_text') {
    return t('history.set_text_many', { count: edits.length, text: shortened(edits.at(-1).text) })
  }
  return joined([...new Set(edits.map((edit) => editText(edit, speakers)))], 'punctuation.semicolon')
}

function editText(edit, speakers) {
  const nameOf = (speaker) => speakerName(speaker, speakers) ?? t('editing.no_speaker')
  const values = {
    count: edit.segments?.length,
    text: shortened(edit.text),
    start: formatClock(edit.start),
    end: formatClock(edit.end),
    seconds: formatNumber(edit.seconds ?? 0, 2),
    find: shortened(edit.find),
    replace: shortened(edit.replace),
    name: edit.name ?? nameOf(edit.into ?? edit.speaker),
    model: edit.model,
  }
  return lookUp(`history.${edit.kind}`, values) ?? t('history.other')
}

/** In characters, not in halves of them. */
function shortened(text = '') {
  const characters = [...text.trim()]
  return characters.length > LONGEST ? `${characters.slice(0, LONGEST).join('')}…` : characters.join('')
}
