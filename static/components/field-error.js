/** What the server found wrong with an option, below its field. */
import { html } from 'htm/preact'
import { optionErrors } from '../state/option-errors.js'
import { errorText } from '../text/messages.js'

export function FieldError({ name }) {
  const error = optionErrors.value[name]
  return (
    error &&
    html`<p class="field-error" role="alert" id="error-${name}" data-testid="error-${name}">${errorText(error)}</p>`
  )
}

/** For the field itself. */
export const errorMarks = (name) =>
  optionErrors.value[name] ? { 'aria-invalid': 'true', 'aria-describedby': `error-${name}` } : {}
