/** A file's name on one line. Where it is too long its middle is left out: names of a series differ in their ending. */
import { html } from 'htm/preact'
import { nameParts } from '../util/name-parts.js'

export function FileName({ name }) {
  const [start, end] = nameParts(name)
  return html`<span class="file-name"><span>${start}</span>${end && html`<span>${end}</span>`}</span>`
}
