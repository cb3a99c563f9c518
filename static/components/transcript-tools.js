/** What can be done with an open task's text: search it, copy it, download it; or cancel the task. */
import { html } from 'htm/preact'
import { isOriginalShown } from '../state/editing.js'
import * as selection from '../state/selection.js'
import { isCompleted, isFinished, nameOfTask } from '../state/task.js'
import { toast } from '../state/toasts.js'
import { t } from '../text/i18n.js'
import { copyText } from '../util/clipboard.js'
import { askAgain } from './again-dialog.js'
import { DownloadMenu } from './download.js'
import { IconButton } from './icon-button.js'
import { Icon } from './icons.js'
import { openShareDialog } from './share-dialog.js'

/** search: of useTextSearch. */
export function TranscriptTools({ task, content, search }) {
  const isEmpty = content.segments.length === 0
  return html`<div class="tools">
    <${Search} search=${search} />
    <button type="button" class="quiet round" disabled=${isEmpty} aria-label=${t('transcript.copy')} title=${t('transcript.copy')} data-testid="copy"
      onClick=${() => copy(content)}><${Icon} name="copy" /></button>
    ${isFinished(task) && html`<${Again} task=${task} />`}
    ${isCompleted(task) && html`<${Share} task=${task} />`}
    ${isCompleted(task) && html`<${Download} task=${task} />`}
    ${!isFinished(task) && html`<${Cancel} task=${task} />`}
    ${search.found.pattern && html`<${Hits} search=${search} />`}
  </div>`
}

function Search({ search }) {
  const label = t('transcript.search')
  return html`<label class="search"><${Icon} name="search" />
    <input type="search" value=${search.query} placeholder=${label} aria-label=${label} data-testid="transcript-search"
      onInput=${(event) => search.setQuery(event.target.value)} onKeyDown=${(event) => onSearchKey(event, search)} />
  </label>`
}

/** Enter goes to the next hit. Escape empties the field and leaves it when it is empty, but never closes the panel. */
function onSearchKey(event, search) {
  if (event.key === 'Enter') search.step(event.shiftKey ? -1 : 1)
  else if (event.key !== 'Escape') return
  else if (search.query) search.setQuery('')
  else event.target.closest('.panel-scroll')?.focus({ preventScroll: true })
  event.preventDefault()
}

/** How many hits there are, and the way from one to the next. */
function Hits({ search }) {
  const { found, place, isFilter, setFilter } = search
  const count = found.places.length
  const all = t('transcript.hits', { count })
  const inSegments = t('transcript.in_segments', { count: found.segmentCount })
  return html`<p class="hits">
    <span role="status" data-testid="matches">${place.value ? t('transcript.hit_of', { number: place.value.number + 1, all }) : all}${
      count > found.segmentCount && html` ${inSegments}`
    }</span>
    ${
      count > 0 &&
      html`<${IconButton} icon="previous" label=${t('transcript.previous_hit')} testid="previous-hit" onClick=${() => search.step(-1)} />
        <${IconButton} icon="next" label=${t('transcript.next_hit')} testid="next-hit" onClick=${() => search.step(1)} />`
    }
    <label><input type="checkbox" role="switch" checked=${isFilter} data-testid="only-hits"
      onChange=${(event) => setFilter(event.target.checked)} /> ${t('transcript.only_hits')}</label>
  </p>`
}

function Download({ task }) {
  const label = t('task.download_of', { name: nameOfTask(task) })
  const isOriginal = isOriginalShown.value
  return html`<${DownloadMenu} task=${task} text=${t('task.download')} label=${label} kind="primary" isOriginal=${isOriginal} />`
}

function Again({ task }) {
  return html`<button type="button" class="quiet round" aria-label=${t('again.title')} title=${t('again.title')} data-testid="again-open"
    onClick=${() => askAgain(task)}><${Icon} name="retry" /></button>`
}

function Share({ task }) {
  return html`<button type="button" class="quiet round" aria-label=${t('share.title')} title=${t('share.title')} data-testid="share"
    onClick=${() => openShareDialog(task)}><${Icon} name="share" /></button>`
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
