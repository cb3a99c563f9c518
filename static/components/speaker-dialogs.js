/** Who says a segment: chosen, named and merged; and having the machine find the speakers. */
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { closeDialog } from '../state/dialogs.js'
import { freeSpeaker } from '../state/edit-commands.js'
import { editorOf } from '../state/editing.js'
import { t } from '../text/i18n.js'
import { speakerName } from '../text/speaker-text.js'
import { Dialog } from './dialog.js'

/** segment: the id of the segment it is about. turn: those around it that the same person says. */
export function SpeakersDialog({ taskId, segment: id, turn }) {
  const editor = editorOf(taskId)
  const { segments, speakers } = editor.content.value
  const speaker = segments.find((segment) => segment.id === id)?.speaker ?? null
  const [isWholeTurn, setWholeTurn] = useState(speaker !== null && turn.length > 1)
  const choose = (chosen) => {
    editor.edit([{ kind: 'set_speaker', segments: isWholeTurn ? turn : [id], speaker: chosen }])
    closeDialog()
  }
  const isMany = turn.length > 1
  return html`<${Dialog} title=${t('speaker.title')} testid="speakers" onClose=${closeDialog} onSubmit=${closeDialog}>
    ${
      isMany &&
      html`<fieldset class="segmented"><legend>${t('speaker.scope')}</legend>
        <${Scope} isTurn=${true} chosen=${isWholeTurn} onChoose=${setWholeTurn} count=${turn.length} />
        <${Scope} isTurn=${false} chosen=${isWholeTurn} onChoose=${setWholeTurn} count=${1} />
      </fieldset>`
    }
    <${Choices} speakers=${speakers} speaker=${speaker} choose=${choose} />
    ${speaker && html`<${Name} key=${speaker} editor=${editor} speakers=${speakers} speaker=${speaker} />`}
    <footer><button type="submit" class="quiet" data-testid="speakers-close">${t('editing.close')}</button></footer>
  <//>`
}

function Scope({ isTurn, chosen, onChoose, count }) {
  return html`<label><input type="radio" name="scope" checked=${chosen === isTurn} data-testid=${isTurn ? 'scope-turn' : 'scope-segment'}
    onChange=${() => onChoose(isTurn)} />${t(isTurn ? 'speaker.turn' : 'speaker.segment', { count })}</label>`
}

/** Digits choose, too. */
function Choices({ speakers, speaker, choose }) {
  const ids = Object.keys(speakers)
  const onKeyDown = (event) => {
    const chosen = ids[Number(event.key) - 1]
    if (chosen === undefined || event.ctrlKey || event.altKey || event.metaKey) return
    event.preventDefault()
    choose(chosen)
  }
  const choice = (
    id,
    text,
    testid,
    number,
  ) => html`<button type="button" class=${id === speaker ? 'primary' : 'quiet'} aria-pressed=${id === speaker}
    data-testid=${testid} onClick=${() => choose(id)}>${number && html`<kbd>${number}</kbd>`}<span dir="auto">${text}</span></button>`
  return html`<fieldset class="speaker-choices" onKeyDown=${onKeyDown}><legend class="unseen">${t('speaker.choices')}</legend>
    ${ids.map((id, at) => choice(id, speakerName(id, speakers), `speaker-${id}`, at < 9 ? at + 1 : null))}
    ${choice(freeSpeaker(speakers), t('speaker.new'), 'speaker-new', null)}
    ${speaker && choice(null, t('speaker.nobody'), 'speaker-nobody', null)}
  </fieldset>`
}

/** A name holds everywhere; so does saying that two are one person. */
function Name({ editor, speakers, speaker }) {
  const [name, setName] = useState(speakers[speaker] ?? '')
  const save = () => {
    const isNew = name.trim() !== (speakers[speaker] ?? '')
    if (isNew) editor.edit([{ kind: 'name_speaker', speaker, name: name.trim() || null }])
  }
  const merge = ({ target }) => {
    editor.edit([{ kind: 'merge_speakers', from: speaker, into: target.value }])
    closeDialog()
  }
  const others = Object.keys(speakers).filter((id) => id !== speaker)
  return html`<label class="option"><span>${t('speaker.name')}</span>
      <input type="text" value=${name} maxlength="100" dir="auto" autocomplete="off" data-testid="speaker-name"
        onInput=${(event) => setName(event.target.value)} onChange=${save} />
      <small>${t('speaker.name_hint')}</small>
    </label>
    ${
      others.length > 0 &&
      html`<label class="option"><span>${t('speaker.same_as')}</span>
        <select data-testid="speaker-merge" onChange=${merge}>
          <option value="" selected>–</option>
          ${others.map((id) => html`<option value=${id}>${speakerName(id, speakers)}</option>`)}
        </select></label>`
    }`
}

/** find: called with the number of speakers, or null where the machine is to find that, too. */
export function FindSpeakersDialog({ find }) {
  const [count, setCount] = useState('')
  const start = () => {
    find(count === '' ? null : Number(count))
    closeDialog()
  }
  return html`<${Dialog} title=${t('speaker.find')} testid="find-speakers-dialog" onClose=${closeDialog} onSubmit=${start}>
    <p class="dialog-note">${t('speaker.find_text')}</p>
    <label class="option"><span>${t('speaker.count')}</span>
      <input type="number" min="1" max="50" step="1" inputmode="numeric" autofocus value=${count} placeholder=${t('speaker.count_unknown')}
        data-testid="speaker-count" onInput=${(event) => setCount(event.target.value)} />
    </label>
    <footer>
      <button type="button" class="quiet" onClick=${closeDialog}>${t('editing.cancel')}</button>
      <button type="submit" class="primary" data-testid="find-speakers-go">${t('speaker.find_go')}</button>
    </footer>
  <//>`
}
