/** What stands in place of a text that is not there, or not yet. */
import { html } from 'htm/preact'
import { isCompleted, isRunning, isWaiting } from '../state/task.js'
import { loadTranscript } from '../state/transcripts.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'

export function NoText({ task, content }) {
  if (content.error && isCompleted(task)) {
    return html`<div class="blank" data-testid="text-error" role="status">
      <p class="blank-title">${t('transcript.unread')}</p><p>${errorText(content.error)}</p>
      <button type="button" class="quiet" onClick=${() => loadTranscript(task.id)}>${t('transcript.read_again')}</button>
    </div>`
  }
  const key = emptinessOf(task, content)
  return html`<div class="blank" data-testid="no-text" aria-busy=${key === null}><p>${t(key ?? 'queue.loading')}</p></div>`
}

/** The key of what to say in place of a text, or null while it is being loaded. */
function emptinessOf(task, content) {
  if (isRunning(task)) return 'transcript.nothing_yet'
  if (isWaiting(task)) return 'transcript.waiting'
  if (!isCompleted(task)) return 'transcript.none'
  return content.isLoaded ? 'transcript.empty' : null
}
