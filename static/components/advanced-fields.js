/** The advanced fold: one field for each option of openai-whisper that is not among the usual ones. */
import { effect, signal } from '@preact/signals'
import { html } from 'htm/preact'
import {
  ADVANCED,
  advanced,
  changedCount,
  GROUPS,
  NUMBERS,
  resetAdvanced,
  SHOWN_DEFAULTS,
  setAdvanced,
  TICKED,
} from '../state/advanced-options.js'
import { optionErrors } from '../state/option-errors.js'
import { isMeaningful } from '../state/upload-options.js'
import { t } from '../text/i18n.js'
import { errorMarks, FieldError } from './field-error.js'

const isOpen = signal(false)
effect(() => {
  if (ADVANCED.some((name) => name in optionErrors.value)) isOpen.value = true
})

export function AdvancedFields() {
  const count = changedCount.value
  return html`<details class="advanced" open=${isOpen.value} onToggle=${(event) => (isOpen.value = event.target.open)}>
    <summary data-testid="option-advanced">
      ${t('option.advanced')}${count > 0 && html` <small data-testid="option-changed">${t('option.changed', { count })}</small>`}
    </summary>
    ${Object.entries(GROUPS).map(([group, names]) => html`<${Group} key=${group} group=${group} names=${names} />`)}
    ${
      count > 0 &&
      html`<button type="button" class="quiet small" data-testid="option-reset" onClick=${resetAdvanced}>${t('option.reset')}</button>`
    }
  </details>`
}

function Group({ group, names }) {
  return html`<fieldset class="advanced-group">
    <legend>${t(`option.group_${group}`)}</legend>
    <div class="advanced-grid">
      ${names.map((name) => html`<div key=${name}><${name in TICKED ? TickedField : WrittenField} name=${name} /><${FieldError} name=${name} /></div>`)}
    </div>
  </fieldset>`
}

function TickedField({ name }) {
  return html`<label class="check" title=${name}>
    <input type="checkbox" data-testid="option-${name}" checked=${name in advanced.value} disabled=${!isMeaningful(name)}
      ...${errorMarks(name)} onChange=${(event) => setAdvanced(name, event.target.checked ? TICKED[name] : '')} />
    <span>${t(`option.${name}`)}<small>${t(`option.${name}_hint`)}</small></span>
  </label>`
}

function WrittenField({ name }) {
  return html`<label class="option" title=${name}>
    <span>${t(`option.${name}`)}</span>
    <input type="text" data-testid="option-${name}" maxlength="2000" autocomplete="off" inputmode=${NUMBERS[name]}
      value=${advanced.value[name] ?? ''} placeholder=${SHOWN_DEFAULTS[name]} disabled=${!isMeaningful(name)}
      ...${errorMarks(name)} onInput=${(event) => setAdvanced(name, event.target.value)} />
    <small>${t(`option.${name}_hint`)}</small>
  </label>`
}
