/** What can be done with an open task's text: search it, copy it, download it; or cancel the task. */
import { html } from 'htm/preact'
import * as selection from '../state/selection.js'
import { isCompleted, isFinished } from '../state/task.js'
import { toast } from '../state/toasts.js'
import { t } from '../text/i18n.js'
import { copyText } from '../util/clipboard.js'
import { DownloadMenu } from './download.js'
import { Icon } from './icons.js'

/** query: what is searched for. */
export function TranscriptTools({ task, content, query, setQuery }) {
  const label = t('transcript.search')
  const isEmpty = content.segments.length === 0
  return html`<div class="tools">
    <label class="search"><${Icon} name="search" />
      <input type="search" value=${query} placeholder=${label} aria-label=${label} data-testid="transcript-search"
        onInput=${(event) => setQuery(event.target.value)} />
    </label>
    <button type="button" class="quiet" disabled=${isEmpty} data-testid="copy" onClick=${() => copy(content)}>
      <${Icon} name="copy" /><span>${t('transcript.copy')}</span>
    </button>
    ${isCompleted(task) && html`<${Download} task=${task} />`}
    ${!isFinished(task) && html`<${Cancel} task=${task} />`}
  </div>`
}

function Download({ task }) {
  const label = t('task.download_of', { name: task.filename })
  return html`<${DownloadMenu} task=${task} text=${t('task.download')} label=${label} kind="primary" />`
}

function Cancel({ task }) {
  return html`<button type="button" class="quiet" onClick=${() => selection.cancel([task.id])}>
    <${Icon} name="stop" /><span>${t('task.cancel')}</span>
  </button>`
}

async function copy(content) {
  try {
    await copyText(content.segments.map((segment) => segment.text.trim()).join('\n'))
    toast(t('transcript.copied'))
  } catch {
    toast(t('transcript.copy_failed'), { tone: 'error' })
  }
}
