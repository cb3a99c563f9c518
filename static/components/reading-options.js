/** What is shown with the text: doubtful places, and the other language. */
import { html } from 'htm/preact'
import { useMemo } from 'preact/hooks'
import { keepInView, rowOf } from '../hooks/follow-player.js'
import { showsBeside } from '../state/beside.js'
import { doubtsIn, nextDoubt, showsDoubts } from '../state/doubts.js'
import { isCompleted } from '../state/task.js'
import { segmentAt } from '../state/transcripts.js'
import { TRANSCRIBE } from '../state/upload-options.js'
import { t } from '../text/i18n.js'
import { selectedSegments } from '../util/selected-rows.js'
import { askRedo } from './redo-dialog.js'

/** beside: of useBeside. */
export function ReadingOptions({ task, content, player, beside }) {
  if (content.segments.length === 0) return null
  const text = task.options.task === TRANSCRIBE ? t('reading.translation') : t('reading.original')
  return html`<div class="reading-options">
    <${Doubts} segments=${content.segments} player=${player} />
    ${isCompleted(task) && html`<${Redo} task=${task} content=${content} player=${player} />`}
    ${beside.other && html`<${Switch} isOn=${showsBeside} text=${text} testid="beside-switch" />`}
  </div>`
}

function Doubts({ segments, player }) {
  const places = useMemo(() => doubtsIn(segments), [segments])
  return html`<${Switch} isOn=${showsDoubts} text=${t('reading.doubts')} title=${t('reading.doubts_hint')} testid="doubts-switch" />
    ${
      showsDoubts.value &&
      html`<span role="status" data-testid="doubt-count">${t('reading.doubt_count', { count: places.length })}</span>
        ${places.length > 0 && html`<button type="button" class="quiet small" data-testid="next-doubt" onClick=${() => goToNextDoubt(places, player)}>${t('reading.next_doubt')}</button>`}`
    }`
}

/** The segments that are selected, the doubtful ones, or the present one, by a larger model. */
function Redo({ task, content, player }) {
  const open = () => askRedo(task, content, segmentAt(content.segments, player.position.peek()), selectedSegments())
  // Pressing the button must not end the selection that says which segments are meant.
  return html`<button type="button" class="quiet small" data-testid="redo-open" onMouseDown=${(event) => event.preventDefault()}
    onClick=${open}>${t('redo.open')}</button>`
}

/** Moves to the first doubtful place after the player's position. places: of doubtsIn. */
export function goToNextDoubt(places, player) {
  const next = nextDoubt(places, player.position.peek())
  if (!next) return
  player.seek(next.start)
  const row = rowOf(document, next.id)
  keepInView(row)
  row?.querySelector('.segment-play')?.focus({ preventScroll: true })
}

function Switch({ isOn, text, title, testid }) {
  return html`<label title=${title}>
    <input type="checkbox" role="switch" checked=${isOn.value} data-testid=${testid} onChange=${(event) => (isOn.value = event.target.checked)} />
    ${text}
  </label>`
}
