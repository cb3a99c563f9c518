/** What was edited here and elsewhere at the same time: both texts, and the choice between them. */
import { html } from 'htm/preact'
import { BOTH, MINE, THEIRS, theirsOf } from '../state/edit-outbox.js'
import { formatClock } from '../text/format.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'
import { speakerName } from '../text/speaker-text.js'

export function ConflictCards({ editor, speakers }) {
  const conflicts = editor.conflicts.value
  return html`<div class="conflicts" role="alert">
    ${conflicts.map((conflict) => html`<${Conflict} key=${conflict.key} conflict=${conflict} editor=${editor} speakers=${speakers} />`)}
  </div>`
}

function Conflict({ conflict, editor, speakers }) {
  const theirs = theirsOf(conflict, editor.content.value)
  const start = (conflict.mine[0] ?? theirs[0])?.start ?? 0
  const { error } = conflict
  const choose = (choice) => () => editor.resolve(conflict, choice)
  return html`<section class="conflict" aria-label=${t('conflict.title', { time: formatClock(start) })} data-testid="conflict">
    <p>${error ? t('conflict.refused', { time: formatClock(start), reason: errorText(error) }) : t('conflict.text', { time: formatClock(start) })}</p>
    <${Side} title=${t('conflict.mine')} segments=${conflict.mine} speakers=${speakers} testid="conflict-mine" />
    <${Side} title=${t('conflict.theirs')} segments=${theirs} speakers=${speakers} testid="conflict-theirs" />
    <p class="conflict-choices">
      <button type="button" class="quiet small" data-testid="keep-mine" onClick=${choose(MINE)}>${t('conflict.keep_mine')}</button>
      <button type="button" class="quiet small" data-testid="keep-theirs" onClick=${choose(THEIRS)}>${t('conflict.keep_theirs')}</button>
      ${
        conflict.mine.length > 0 &&
        html`<button type="button" class="quiet small" data-testid="keep-both" onClick=${choose(BOTH)}>${t('conflict.keep_both')}</button>`
      }
    </p>
  </section>`
}

function Side({ title, segments, speakers, testid }) {
  const who = (segment) => (segment.speaker ? `${speakerName(segment.speaker, speakers)}: ` : '')
  return html`<div class="conflict-side" data-testid=${testid}><b>${title}</b>
    ${segments.length === 0 && html`<p><i>${t('conflict.gone')}</i></p>`}
    ${segments.map((segment) => html`<p dir="auto">${who(segment)}${segment.text.trim()}</p>`)}
  </div>`
}
