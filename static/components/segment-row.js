/** A segment's row: who speaks, where that changes, the button that plays it, and its text, in a field while it is edited. */
import { html } from 'htm/preact'
import { doubtOf } from '../state/doubts.js'
import { formatClock } from '../text/format.js'
import { t } from '../text/i18n.js'
import { SegmentEditor } from './segment-editor.js'
import { SegmentText } from './segment-text.js'

/**
 * isNear: a signal of whether the words are worth elements of their own. speaker: a name, where another one begins.
 * editing: of useEditing, for the segment that is edited; else null.
 */
export function SegmentRow({ segment, speaker, canEdit, isNear, pattern, place, besideTexts, editing }) {
  const { id, start } = segment
  const time = formatClock(start)
  const doubt = doubtOf(segment)
  const beside = besideTexts?.get(id)
  return html`<div role="listitem" class="segment ${editing ? 'is-edited' : ''}" data-testid="segment" data-start=${start} data-segment=${id}>
    ${speaker && html`<${SpeakerLine} name=${speaker} canEdit=${canEdit} />`}
    <button type="button" class="segment-play" tabindex="-1" aria-label=${t('transcript.segment', { time })} data-testid="segment-play">
      <time>${time}</time>
    </button>
    ${
      editing
        ? html`<${SegmentEditor} segment=${segment} editing=${editing} />`
        : html`<${SegmentText} segment=${segment} isNear=${isNear.value} pattern=${pattern} place=${place} />`
    }
    ${doubt && html`<small class="doubt" data-testid="doubt">${t(`doubt.${doubt}`)}</small>`}
    ${beside && html`<p class="segment-beside" dir="auto" data-testid="beside">${beside}</p>`}
  </div>`
}

function SpeakerLine({ name, canEdit }) {
  if (!canEdit) return html`<p class="speaker-line" dir="auto" data-testid="speaker">${name}</p>`
  return html`<p class="speaker-line"><button type="button" class="speaker-change" title=${t('speaker.title')} data-testid="speaker">
    <span dir="auto">${name}</span></button></p>`
}
