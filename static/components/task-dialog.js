/** What the person calls a task, its tags and notes. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { changeTask } from '../api.js'
import { applyAnswer, taskOf } from '../state/store.js'
import { knownTags, MOST_TAG_CHARACTERS, TAG_BREAK, withTags } from '../state/tags.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'
import { Dialog } from './dialog.js'
import { IconButton } from './icon-button.js'

const MOST_TITLE_CHARACTERS = 200
const MOST_NOTE_CHARACTERS = 10_000

/** The id of the task that is described, or null. */
const describedId = signal(null)

export const describe = (id) => (describedId.value = id)

export function TaskDialog() {
  const task = describedId.value && taskOf(describedId.value)?.value
  return task ? html`<${TaskForm} key=${task.id} task=${task} />` : null
}

function TaskForm({ task }) {
  const [draft, setDraft] = useState({ title: task.title ?? '', tags: task.tags ?? [], note: task.note ?? '' })
  const [error, setError] = useState(null)
  const change = (changes) => setDraft({ ...draft, ...changes })
  const close = () => (describedId.value = null)
  const save = () => {
    applyAnswer(changeTask(task.id, draft)).then(close, (fault) =>
      fault.name === 'ApiError' ? setError(fault) : Promise.reject(fault),
    )
  }
  return html`<${Dialog} title=${t('describe.title')} testid="describe" keepsOpen onClose=${close} onSubmit=${save}>
    <${Fields} task=${task} draft=${draft} change=${change} />
    <div role="alert">${error && html`<p class="field-error">${errorText(error)}</p>`}</div>
    <footer>
      <button type="button" class="quiet" data-testid="describe-cancel" onClick=${close}>${t('describe.cancel')}</button>
      <button type="submit" class="primary" data-testid="describe-save">${t('describe.save')}</button>
    </footer>
  <//>`
}

function Fields({ task, draft, change }) {
  return html`
    <label class="option">
      <span>${t('describe.name')}</span>
      <input type="text" dir="auto" maxlength=${MOST_TITLE_CHARACTERS} placeholder=${task.filename} value=${draft.title}
        data-testid="describe-name" onInput=${(event) => change({ title: event.target.value })} />
    </label>
    <${Tags} tags=${draft.tags} onChange=${(tags) => change({ tags })} />
    <label class="option">
      <span>${t('describe.note')}</span>
      <textarea rows="4" dir="auto" maxlength=${MOST_NOTE_CHARACTERS} value=${draft.note} data-testid="describe-note"
        onInput=${(event) => change({ note: event.target.value })}></textarea>
    </label>`
}

/** A comma or Enter ends a tag; Backspace in the empty field takes the last one back. */
function Tags({ tags, onChange }) {
  const [text, setText] = useState('')
  const add = (written) => {
    onChange(withTags(tags, written))
    setText('')
  }
  const onInput = ({ target: { value } }) => {
    // A suggestion that is chosen comes whole, and what is pasted may be several.
    if (TAG_BREAK.test(value) || knownTags.peek().includes(value)) add(value)
    else setText(value)
  }
  const onKeyDown = (event) => {
    if (event.key === 'Enter' && text.trim()) {
      event.preventDefault()
      add(text)
    }
    if (event.key === 'Backspace' && text === '') onChange(tags.slice(0, -1))
  }
  const others = knownTags.value.filter((tag) => !tags.includes(tag))
  return html`<div class="option">
    <span><label for="describe-tags">${t('describe.tags')}</label></span>
    ${tags.length > 0 && html`<ul class="tag-list">${tags.map((tag) => html`<${Tag} key=${tag} tag=${tag} onRemove=${() => onChange(tags.filter((one) => one !== tag))} />`)}</ul>`}
    <input type="text" id="describe-tags" dir="auto" list="known-tags" autocomplete="off" maxlength=${MOST_TAG_CHARACTERS} value=${text}
      data-testid="describe-tags" onInput=${onInput} onKeyDown=${onKeyDown} onBlur=${() => text.trim() && add(text)} />
    <datalist id="known-tags">${others.map((tag) => html`<option value=${tag}></option>`)}</datalist>
  </div>`
}

function Tag({ tag, onRemove }) {
  return html`<li class="tag" dir="auto">${tag}
    <${IconButton} icon="close" label=${t('describe.remove_tag', { tag })} testid="remove-tag" onClick=${onRemove} />
  </li>`
}
