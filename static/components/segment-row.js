/** A segment's row: who speaks, where that changes, the button that plays it, and its text, in a field while it is edited. */
import { useSignal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { doubtOf } from '../state/doubts.js'
import { formatClock } from '../text/format.js'
import { t } from '../text/i18n.js'
import { SegmentEditor } from './segment-editor.js'
import { SegmentText } from './segment-text.js'

/** speaker: a name, where another one begins. editing: of useEditing, for the segment that is edited; else null. */
export function SegmentRow({ segment, speaker, canEdit, watch, pattern, place, besideTexts, editing }) {
  const row = useRef(null)
  const isNear = useSignal(false)
  useEffect(() => watch(row.current, isNear), [])
  const { id, start } = segment
  const time = formatClock(start)
  const doubt = doubtOf(segment)
  const beside = besideTexts?.get(id)
  return html`<li class="segment ${editing ? 'is-edited' : ''}" ref=${row} data-testid="segment" data-start=${start} data-segment=${id}>
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
  </li>`
}

function SpeakerLine({ name, canEdit }) {
  if (!canEdit) return html`<p class="speaker-line" dir="auto" data-testid="speaker">${name}</p>`
  return html`<p class="speaker-line"><button type="button" class="speaker-change" title=${t('speaker.title')} data-testid="speaker">
    <span dir="auto">${name}</span></button></p>`
}
