/** Finds and replaces, in one transcript or in all that were chosen. */
import { html } from 'htm/preact'
import { useEffect, useState } from 'preact/hooks'
import { closeDialog } from '../state/dialogs.js'
import { countIn, forgetRead, replaceIn } from '../state/replacing.js'
import { toast, toastError } from '../state/toasts.js'
import { t } from '../text/i18n.js'
import { Dialog } from './dialog.js'

/** After this pause the matches are counted again. */
const PAUSE_MS = 250

/** ids: of the tasks. */
export function ReplaceDialog({ ids }) {
  const [fields, setFields] = useState({ find: '', replace: '', case: false, whole_words: false })
  const [isReplacing, setReplacing] = useState(false)
  const found = useCount(ids, fields)
  const change = (name, value) => setFields({ ...fields, [name]: value })
  const replace = () => {
    if (!found?.count || isReplacing) return
    setReplacing(true)
    replaceIn(found.ids, fields)
      .then((count) => toast(t('replace.done', { count })), toastError)
      .finally(closeDialog)
  }
  return html`<${Dialog} title=${t('replace.title')} testid="replace" onClose=${closeDialog} onSubmit=${replace}>
    <p class="dialog-note">${t('replace.scope', { count: ids.length })}</p>
    <${TextField} name="find" value=${fields.find} change=${change} />
    <${TextField} name="replace" value=${fields.replace} change=${change} />
    <${Check} name="case" value=${fields.case} change=${change} />
    <${Check} name="whole_words" value=${fields.whole_words} change=${change} />
    <p role="status" class="dialog-note" data-testid="replace-count">${foundText(fields, found, ids.length)}</p>
    <footer>
      <button type="button" class="quiet" onClick=${closeDialog}>${t('editing.cancel')}</button>
      <button type="submit" class="primary" disabled=${!found?.count || isReplacing} aria-busy=${isReplacing} data-testid="replace-go">
        ${t('replace.go')}</button>
    </footer>
  <//>`
}

function foundText(fields, found, all) {
  if (!fields.find) return ''
  if (found === null) return t('replace.counting')
  if (all === 1) return t('replace.found', { count: found.count })
  return t('replace.found_in', { count: found.count, texts: found.ids.length, all })
}

/** {count, ids} of what is found, or null while it is looked for. */
function useCount(ids, fields) {
  const [found, setFound] = useState(null)
  const { find, case: isCaseKept, whole_words: isWhole } = fields
  useEffect(() => forgetRead, [])
  useEffect(() => {
    setFound(null)
    if (!find) return undefined
    const stop = new AbortController()
    const timer = setTimeout(() => {
      const show = (counted) => !stop.signal.aborted && setFound(counted)
      countIn(ids, fields, stop.signal).then(show, (error) => !stop.signal.aborted && toastError(error))
    }, PAUSE_MS)
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [find, isCaseKept, isWhole])
  return found
}

function TextField({ name, value, change }) {
  return html`<label class="option"><span>${t(`replace.${name}`)}</span>
    <input type="text" autofocus=${name === 'find'} value=${value} autocomplete="off" dir="auto" data-testid="replace-${name}"
      onInput=${(event) => change(name, event.target.value)} />
  </label>`
}

function Check({ name, value, change }) {
  return html`<label class="check"><input type="checkbox" checked=${value} data-testid="replace-${name}"
      onChange=${(event) => change(name, event.target.checked)} /><span>${t(`replace.${name}`)}</span></label>`
}
