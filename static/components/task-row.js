/** One task of the queue: what it is, how it stands, and what can be done with it. */
import { html } from 'htm/preact'
import { drag, isMovable } from '../state/reorder.js'
import * as selection from '../state/selection.js'
import { filter, setFilter, taskOf } from '../state/store.js'
import { canRetry, isCompleted, isFinished, nameOfTask } from '../state/task.js'
import { t } from '../text/i18n.js'
import { openId, openTask } from '../util/address.js'
import { Chip } from './chip.js'
import { confirmAndDelete } from './confirm.js'
import { DownloadMenu } from './download.js'
import { FileName } from './file-name.js'
import { IconButton } from './icon-button.js'
import { MoveHandle } from './move-handle.js'
import { describe } from './task-dialog.js'
import { TaskFacts } from './task-facts.js'
import { placeOfHit, TaskHit } from './task-hit.js'
import { TaskState } from './task-state.js'

/** place: from 1 among the rows of its list, of which there are `size`; -1 if that is not known. */
export function TaskRow({ id, place, size }) {
  const task = taskOf(id)?.value
  if (!task) return null
  const { status, filename } = task
  const name = nameOfTask(task)
  const isOpen = openId.value === id
  return html`<li class="task is-${status} ${isOpen ? 'is-open' : ''} ${dragClass(id)}" data-testid="task" data-task-id=${id}
    data-row-id=${id} aria-posinset=${place} aria-setsize=${size} data-status=${status} data-filename=${filename}>
    <label class="task-check">
      <input type="checkbox" checked=${selection.isSelected(id)} aria-label=${t('task.select', { name })} data-testid="select"
        onChange=${() => selection.toggle(id)} />
    </label>
    <div class="task-body">
      <p class="task-top">
        <button type="button" class="task-name" dir="auto" aria-expanded=${isOpen} aria-label=${t('task.open', { name })}
          title=${name} data-testid="open" onClick=${() => openTask(id, placeOfHit(task))}><${FileName} name=${name} /></button>
        <${Chip} status=${status} />
      </p>
      <${TaskFacts} task=${task} isNameShown=${task.title != null} />
      <${Words} task=${task} />
      <${TaskState} task=${task} />
      <${TaskHit} task=${task} />
    </div>
    <${Actions} task=${task} />
  </li>`
}

/** How a row shows that it is dragged, or that the dragged one would be put before or after it. */
function dragClass(id) {
  if (drag.value === null) return ''
  if (drag.value.id === id) return 'is-dragged'
  return drag.value.overId === id ? `is-drop-${drag.value.isAfter ? 'after' : 'before'}` : ''
}

/** What the person wrote about it. */
function Words({ task: { tags = [], note = '' } }) {
  if (tags.length === 0 && note === '') return null
  return html`<p class="task-words">
    ${tags.map((tag) => html`<button type="button" key=${tag} class="tag" dir="auto" title=${t('filter.by_tag', { tag })} data-testid="tag" onClick=${() => filterByTag(tag)}>${tag}</button>`)}
    ${note && html`<span class="task-note" dir="auto" title=${note} data-testid="note">${note}</span>`}
  </p>`
}

const filterByTag = (tag) => setFilter({ more: { ...filter.peek(), tag } })

function Actions({ task }) {
  const { id } = task
  const name = nameOfTask(task)
  return html`<div class="task-actions">
    ${isMovable(task) && html`<${MoveHandle} id=${id} name=${name} />`}
    ${isCompleted(task) && html`<${DownloadMenu} task=${task} label=${t('task.download_of', { name })} />`}
    ${
      canRetry(task) &&
      html`<${IconButton} icon="retry" label=${t('task.retry_of', { name })} title=${t('task.retry')} testid="retry"
        onClick=${() => selection.retry([id])} />`
    }
    ${
      !isFinished(task) &&
      html`<${IconButton} icon="stop" label=${t('task.cancel_of', { name })} title=${t('task.cancel')} testid="cancel"
        onClick=${() => selection.cancel([id])} />`
    }
    <${IconButton} icon="pencil" label=${t('describe.of', { name })} title=${t('describe.title')} testid="describe-task"
      onClick=${() => describe(id)} />
    <${IconButton} icon="trash" label=${t('task.delete_of', { name })} title=${t('task.delete')} testid="delete"
      onClick=${() => confirmAndDelete([id])} />
  </div>`
}
