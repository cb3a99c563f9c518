/** Who has edited a transcript, when, and what. */
import { html } from 'htm/preact'
import { useEffect, useState } from 'preact/hooks'
import { fetchEditPage } from '../api.js'
import { closeDialog } from '../state/dialogs.js'
import { groupedSteps } from '../state/edit-history.js'
import { editorOf } from '../state/editing.js'
import { toastError } from '../state/toasts.js'
import { editsText } from '../text/edit-text.js'
import { formatMoment } from '../text/format.js'
import { t } from '../text/i18n.js'
import { Dialog } from './dialog.js'

const PAGE = 100

export function EditHistory({ taskId }) {
  const editor = editorOf(taskId)
  const { version, speakers } = editor.content.value
  const { steps, hasMore, readMore } = useSteps(taskId, version)
  return html`<${Dialog} title=${t('history.title')} testid="history" isWide onClose=${closeDialog} onSubmit=${closeDialog}>
    ${steps === null && html`<p aria-busy="true">${t('queue.loading')}</p>`}
    ${steps?.length === 0 && html`<p>${t('history.empty')}</p>`}
    <ol class="edit-steps">
      ${groupedSteps(steps ?? []).map((step) => html`<${Step} key=${step.number} step=${step} speakers=${speakers} />`)}
    </ol>
    ${hasMore && html`<button type="button" class="quiet small" onClick=${readMore}>${t('history.more')}</button>`}
    <footer><button type="submit" class="primary" data-testid="history-close">${t('editing.close')}</button></footer>
  <//>`
}

/** Newest first, as far as they were read; read again when there is a new version. */
function useSteps(taskId, version) {
  const [steps, setSteps] = useState(null)
  const [before, setBefore] = useState(null)
  const read = async (filter, earlier) => {
    const { edits, next_before: next } = await fetchEditPage(taskId, { limit: PAGE, ...filter })
    setSteps([...earlier, ...edits])
    setBefore(next)
  }
  useEffect(() => {
    read({}, []).catch(toastError)
  }, [taskId, version])
  return { steps, hasMore: before !== null, readMore: () => read({ before }, steps).catch(toastError) }
}

function Step({ step, speakers }) {
  const who = step.author || t(step.edits[0]?.kind === 'diarize' ? 'history.by_server' : 'history.by_somebody')
  return html`<li class=${step.isUndone ? 'is-undone' : undefined} data-testid="edit-step">
    <span dir="auto">${editsText(step.edits, speakers)}${step.isUndone && html` <i>(${t('history.undone')})</i>`}</span>
    <small><b dir="auto">${who}</b> <time datetime=${step.at}>${formatMoment(step.at)}</time></small>
  </li>`
}
