/** What can be done with the chosen tasks; stays in view while there are any. */
import { html } from 'htm/preact'
import * as selection from '../state/selection.js'
import { isFinished, shownIds } from '../state/store.js'
import { t } from '../text/i18n.js'
import { ArchiveMenu } from './download.js'
import { Icon } from './icons.js'
import { removeAsked } from './task-row.js'

export function SelectionBar() {
  const ids = selection.selectedIds.value
  if (ids.length === 0) return null
  const finished = selection.selectedWhere((task) => task.status === 'completed')
  const open = selection.selectedWhere((task) => !isFinished(task))
  const again = selection.selectedWhere((task) => ['failed', 'cancelled'].includes(task.status))
  return html`<div class="selection" role="toolbar" aria-label=${t('selection.toolbar')} data-testid="selection-bar">
    <span class="selection-count" role="status" data-testid="selection-count">${t('selection.count', { count: ids.length })}</span>
    ${ids.length < shownIds.value.length && html`<button type="button" class="quiet small" data-testid="select-all" onClick=${selection.selectAll}>${t('selection.all')}</button>`}
    <span class="spring"></span>
    ${finished.length > 0 && html`<${ArchiveMenu} ids=${finished} text=${t('selection.zip')} testid="zip" kind="quiet" />`}
    ${again.length > 0 && html`<${Bulk} icon="retry" words=${t('task.retry')} testid="retry-selected" onClick=${() => selection.retry(again)} />`}
    ${open.length > 0 && html`<${Bulk} icon="stop" words=${t('task.cancel')} testid="cancel-selected" onClick=${() => selection.cancel(open)} />`}
    <${Bulk} icon="trash" words=${t('task.delete')} testid="delete-selected" onClick=${() => removeAsked(ids)} />
    <button type="button" class="round" aria-label=${t('selection.none')} title=${t('selection.none')} data-testid="select-none" onClick=${selection.clearSelection}><${Icon} name="close" /></button>
  </div>`
}

const Bulk = ({ icon, words, testid, onClick }) =>
  html`<button type="button" class="quiet" data-testid=${testid} onClick=${onClick}><${Icon} name=${icon} /><span>${words}</span></button>`
