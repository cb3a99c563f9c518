/** One segment while it is edited: its text in a field, and below it its times, its speaker and what else can be done. */
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { useSegmentField } from '../hooks/use-segment-field.js'
import { insertAfter, mergeBy, removeCurrent } from '../state/edit-commands.js'
import { place } from '../state/editing.js'
import { formatClock } from '../text/format.js'
import { t } from '../text/i18n.js'
import { speakerName } from '../text/speaker-text.js'
import { parseClock, preciseClock } from '../util/clock-time.js'
import { Icon } from './icons.js'

/** editing: of useEditing. */
export function SegmentEditor({ segment, editing }) {
  const { editor, player, openSpeakers } = editing
  const conflict = editor.conflicts.value.find(({ ids }) => ids.includes(segment.id))
  const mine = conflict?.mine.find(({ id }) => id === segment.id)
  const field = useSegmentField({
    editor,
    segment,
    text: (mine ?? segment).text.trim(),
    place: place.value,
    onGo: editing.goBy,
  })
  return html`<div class="segment-editor" data-testid="segment-editor">
    <div class="growing"><textarea rows="1" ...${field} readonly=${Boolean(conflict)} dir="auto" spellcheck="true" enterkeyhint="enter"
      aria-label=${t('editing.text_at', { time: formatClock(segment.start) })} aria-describedby="editing-keys" data-testid="segment-field"
    ></textarea></div>
    <div class="segment-tools">
      <${Times} key=${segment.start + segment.end} segment=${segment} editor=${editor} player=${player} />
      <${Tool} icon="person" text=${speakerName(segment.speaker, editing.speakers)} label=${t('editing.speaker_here')}
        testid="segment-speaker" onClick=${() => openSpeakers()} />
      <span class="spring"></span>
      <${Tool} icon="merge" label=${t('editing.merge')} testid="segment-merge" onClick=${() => mergeBy(editor, -1)} />
      <${Tool} icon="insert" label=${t('editing.insert')} testid="segment-insert"
        onClick=${() => insertAfter(editor, editing.duration())} />
      <${Tool} icon="trash" label=${t('editing.delete')} testid="segment-delete" onClick=${() => removeCurrent(editor)} />
    </div>
  </div>`
}

function Tool({ icon, text, label, testid, onClick }) {
  return html`<button type="button" class=${text ? 'small' : 'round small'} aria-label=${text ? `${label}: ${text}` : label} title=${label}
    data-testid=${testid} onClick=${onClick}><${Icon} name=${icon} />${text && html`<span dir="auto">${text}</span>`}</button>`
}

function Times({ segment, editor, player }) {
  const [times, setTimes] = useState({ start: preciseClock(segment.start), end: preciseClock(segment.end) })
  const [start, end] = [parseClock(times.start), parseClock(times.end)]
  const isRight = start !== null && end !== null && start < end
  const save = (changed) => {
    const next = { start, end, ...changed }
    const isNew =
      preciseClock(next.start) !== preciseClock(segment.start) || preciseClock(next.end) !== preciseClock(segment.end)
    if (next.start < next.end && isNew) editor.edit([{ kind: 'set_times', segment: segment.id, ...next }])
  }
  const field = (name, value) => html`<${TimeField} name=${name} text=${times[name]} isWrong=${!isRight}
    onText=${(text) => setTimes({ ...times, [name]: text })} onDone=${() => isRight && save()}
    onStep=${(by) => value !== null && setTimes({ ...times, [name]: preciseClock(Math.max(0, value + by)) })}
    onHere=${() => save({ [name]: Math.round(player.position.peek() * 1000) / 1000 })} />`
  return html`<span class="segment-times">${field('start', start)}<span aria-hidden="true">–</span>${field('end', end)}</span>`
}

const STEP_S = 0.1

/** Enter or leaving the field saves; the arrow keys move by a tenth of a second. */
function TimeField({ name, text, isWrong, onText, onDone, onStep, onHere }) {
  const onKeyDown = (event) => {
    const step = { ArrowUp: STEP_S, ArrowDown: -STEP_S }[event.key]
    if (step) onStep(step)
    else if (event.key === 'Enter') onDone()
    else return
    event.preventDefault()
  }
  return html`<input type="text" inputmode="decimal" class="time" value=${text} aria-label=${t(`editing.${name}`)} aria-invalid=${isWrong || undefined}
      data-testid="segment-${name}" onInput=${(event) => onText(event.target.value)} onKeyDown=${onKeyDown} onBlur=${onDone} />
    <button type="button" class="round small" aria-label=${t(`editing.${name}_here`)} title=${t(`editing.${name}_here`)}
      data-testid="segment-${name}-here" onClick=${onHere}><${Icon} name="pin" /></button>`
}
