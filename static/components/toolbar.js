/** What can be done with the selected tasks. It stays in view as long as there are any. */
import { html } from 'htm/preact'
import { showDialog } from '../state/dialogs.js'
import * as selection from '../state/selection.js'
import { shownIds } from '../state/store.js'
import { canRetry, isCompleted, isFinished } from '../state/task.js'
import { t } from '../text/i18n.js'
import { confirmAndDelete } from './confirm.js'
import { ArchiveMenu } from './download.js'
import { IconButton } from './icon-button.js'
import { Icon } from './icons.js'

export function SelectionBar() {
  const ids = selection.selectedIds.value
  if (ids.length === 0) return null
  return html`<div class="selection" role="toolbar" aria-label=${t('selection.toolbar')} data-testid="selection-bar">
    <span class="selection-count" role="status" data-testid="selection-count">${t('selection.count', { count: ids.length })}</span>
    ${ids.length < shownIds.value.length && html`<${SelectAll} />`}
    <span class="spring"></span>
    <${Actions} ids=${ids} />
    <${IconButton} icon="close" label=${t('selection.none')} testid="select-none" onClick=${selection.clearSelection} />
  </div>`
}

const SelectAll = () =>
  html`<button type="button" class="quiet small" data-testid="select-all" onClick=${selection.selectAll}>${t('selection.all')}</button>`

/** Each action concerns only the tasks that allow it, and is offered only when there are some. */
function Actions({ ids }) {
  const completed = selection.selectedWhere(isCompleted)
  const unfinished = selection.selectedWhere((task) => !isFinished(task))
  const ended = selection.selectedWhere(canRetry)
  return html`
    ${completed.length > 0 && html`<${ArchiveMenu} ids=${completed} text=${t('selection.zip')} testid="zip" kind="quiet" />`}
    ${
      completed.length > 0 &&
      html`<${Action} icon="pencil" text=${t('replace.selected')} testid="replace-selected"
        onClick=${() => showDialog('replace', { ids: completed })} />`
    }
    ${
      ended.length > 0 &&
      html`<${Action} icon="retry" text=${t('task.retry')} testid="retry-selected" onClick=${() => selection.retry(ended)} />`
    }
    ${
      unfinished.length > 0 &&
      html`<${Action} icon="stop" text=${t('task.cancel')} testid="cancel-selected" onClick=${() => selection.cancel(unfinished)} />`
    }
    <${Action} icon="trash" text=${t('task.delete')} testid="delete-selected" onClick=${() => confirmAndDelete(ids)} />`
}

const Action = ({ icon, text, testid, onClick }) =>
  html`<button type="button" class="quiet" data-testid=${testid} onClick=${onClick}><${Icon} name=${icon} /><span>${text}</span></button>`
