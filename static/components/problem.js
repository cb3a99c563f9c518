/** Why something failed. */
import { html } from 'htm/preact'
import { errorText } from '../text/messages.js'
import { Icon } from './icons.js'

/** error: {code, message}. */
export function Problem({ error, testid, role }) {
  return html`<p class="problem" role=${role} data-testid=${testid}><${Icon} name="alert" />${errorText(error)}</p>`
}
