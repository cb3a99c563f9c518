/** The queue: uploads, running, waiting and finished tasks, filtered by status and by a search. */
import { useSignal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { onRowKey } from '../hooks/row-keys.js'
import { useKeptFocus } from '../hooks/use-kept-focus.js'
import { useNearView } from '../hooks/use-near-view.js'
import * as store from '../state/store.js'
import { FINISHED, REFUSED, STATUSES, WAITING } from '../state/task.js'
import { toastError } from '../state/toasts.js'
import { refusedCount, uploads } from '../state/uploads.js'
import { formatNumber } from '../text/format.js'
import { t } from '../text/i18n.js'
import { errorText } from '../text/messages.js'
import { preference } from '../util/preferences.js'
import { ArchiveMenu } from './download.js'
import { FilterBar, FilterButton, FilterChips } from './filter-bar.js'
import { Icon } from './icons.js'
import { Keeping } from './keeping.js'
import { NotifySwitch } from './news.js'
import { TaskRow } from './task-row.js'
import { SelectionBar } from './toolbar.js'
import { Uploads } from './uploads.js'
import { VirtualList } from './virtual-list.js'

const TYPING_PAUSE_MS = 250
const USUAL_ROW_PX = 88
const ALWAYS_OFFERED = new Set(['pending', 'processing', 'completed', 'failed'])
/** The groups that the person has folded away. */
const folded = preference('folded', [])

function toggleFold(name) {
  const others = folded.peek().filter((one) => one !== name)
  folded.value = others.length < folded.peek().length ? others : [...others, name]
}

export function Queue() {
  const hasTasks = store.totalCount.value + refusedCount.value > 0 || isFiltered()
  const hasTranscripts = store.counts.value.completed > 0
  return html`<section class="queue" aria-labelledby="queue">
    <div class="queue-head">
      <h2 id="queue" tabindex="-1">${t('queue.title')}</h2>
      ${hasTasks && html`<${Search} /><${FilterButton} />`}
      ${hasTasks && html`<${NotifySwitch} />`}
      ${hasTranscripts && html`<${ArchiveMenu} ids=${[]} text=${t('queue.download_all')} testid="download-all" kind="quiet" />`}
      ${hasTasks && html`<${StatusTabs} />`}
    </div>
    <${FilterBar} /><${FilterChips} />
    <${SelectionBar} />
    <${FoundCount} />
    <${Groups} />
    <${Keeping} />
  </section>`
}

/** How much a search or a filter finds, for who does not see the list become shorter. */
function FoundCount() {
  const counts = store.foundCounts.value
  const { statusFilter } = store
  const count = STATUSES.filter((status) => [null, status].includes(statusFilter.value)).reduce(
    (sum, status) => sum + (counts?.[status] ?? 0),
    0,
  )
  const text = count > 0 ? t('queue.found', { count }) : t('queue.no_match')
  return html`<p class="unseen" role="status" data-testid="found-count">${counts && !store.isLoading.value ? text : ''}</p>`
}

function StatusTabs() {
  const counts = { ...(store.foundCounts.value ?? store.counts.value), [REFUSED]: refusedCount.value }
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0)
  const isOffered = (status) => ALWAYS_OFFERED.has(status) || counts[status] > 0 || store.statusFilter.value === status
  return html`<section class="tabs" aria-label=${t('queue.filter')}>
    <${Tab} status=${null} label=${t('queue.all')} count=${all} />
    ${[...STATUSES, REFUSED]
      .filter(isOffered)
      .map(
        (status) =>
          html`<${Tab} key=${status} status=${status} label=${t(`status.${status}`)} count=${counts[status] ?? 0} />`,
      )}
  </section>`
}

function Tab({ status, label, count }) {
  const isChosen = store.statusFilter.value === status
  return html`<button type="button" class="tab" aria-pressed=${isChosen} data-testid="filter-${status ?? 'all'}"
    onClick=${() => store.setFilter({ status })}>${label} <span class="count">${formatNumber(count)}</span></button>`
}

function Search() {
  const timer = useRef(null)
  const input = useRef(null)
  const search = (text, delay) => {
    clearTimeout(timer.current)
    timer.current = setTimeout(() => store.setFilter({ text: text.trim() }), delay)
  }
  useEffect(() => {
    if (store.query.value === '' && input.current.value.trim() !== '') input.current.value = ''
  }, [store.query.value])
  return html`<label class="search">
    <${Icon} name="search" />
    <input ref=${input} type="search" placeholder=${t('queue.search')} aria-label=${t('queue.search')} data-testid="search"
      onInput=${(event) => search(event.target.value, TYPING_PAUSE_MS)}
      onKeyDown=${(event) => event.key === 'Enter' && search(event.target.value, 0)} />
  </label>`
}

function Groups() {
  useKeptFocus()
  const { running, waiting, finished, found } = store.groups.value
  const isEmpty = store.shownIds.value.length === 0
  return html`<div class="groups" aria-busy=${store.isLoading.value} onKeyDown=${onRowKey}>
    <${Uploads} />
    ${isEmpty && uploads.value.length === 0 && html`<${Emptiness} />`}
    <${Group} name="running" tasks=${running} />
    <${Group} name="waiting" tasks=${waiting} />
    <${Group} name="finished" tasks=${finished} />
    <${Group} name="found" tasks=${found} />
  </div>`
}

function Group({ name, tasks }) {
  if (tasks.length === 0) return null
  const isWhole = !store.cursors.value[name]
  const total = isWhole ? tasks.length : totalOf(name)
  const isFolded = folded.value.includes(name)
  return html`<section class="group" data-testid="group-${name}">
    <h3><button type="button" class="fold" aria-expanded=${!isFolded} data-testid="fold-${name}" onClick=${() => toggleFold(name)}>
      ${t(`queue.group_${name}`)} <span class="count">${formatNumber(total)}</span><${Icon} name="chevron" />
    </button></h3>
    ${isFolded || html`<${VirtualList} ids=${tasks.map((task) => task.id)} total=${total} Row=${TaskRow} guess=${USUAL_ROW_PX} />`}
    ${isFolded || isWhole || html`<${LoadMore} part=${name} />`}
  </section>`
}

/** How many tasks the group has, with those that are not loaded. */
function totalOf(name) {
  const counts = store.foundCounts.value ?? store.counts.value
  const { statusFilter } = store
  const statuses = { waiting: WAITING, finished: FINISHED }[name] ?? STATUSES
  const counted = statuses.filter((status) => [null, status].includes(statusFilter.value))
  return counted.reduce((sum, status) => sum + (counts[status] ?? 0), 0)
}

const isFiltered = () => store.isNarrowed.value || store.isFlat.value || store.statusFilter.value !== null

/** More rows come by themselves when the end of the list comes near. After a failure it takes the button. */
function LoadMore({ part }) {
  const hasFailed = useSignal(false)
  const load = () =>
    store.loadMore(part).catch((error) => {
      hasFailed.value = true
      toastError(error)
    })
  const button = useNearView(() => hasFailed.value || load())
  const isLoading = store.isLoading.value
  const onClick = () => {
    hasFailed.value = false
    load()
  }
  return html`<button type="button" class="quiet wide" ref=${button} data-testid="load-more" aria-disabled=${isLoading} onClick=${onClick}>
    ${isLoading ? t('queue.loading') : t('queue.more')}
  </button>`
}

/** What stands in place of the list: an error, a list being loaded, a search without a match, or an invitation. */
function Emptiness() {
  const error = store.loadError.value
  if (error) return html`<${Blank} testid="load-error" title=${errorText(error)} text=${t('app.failed')} />`
  if (store.isLoading.value) {
    return html`<div class="tasks-blank" aria-busy="true" aria-label=${t('queue.loading')}><span></span><span></span><span></span></div>`
  }
  if (isFiltered()) {
    return html`<${Blank} testid="no-match" title=${t('queue.no_match')} text=${t('queue.no_match_hint')}>
      <button type="button" class="quiet" data-testid="show-all" onClick=${store.showAll}>${t('queue.show_all')}</button>
    <//>`
  }
  return html`<${Blank} testid="empty" title=${t('queue.empty')} text=${t('queue.empty_hint')} />`
}

const Blank = ({ testid, title, text, children }) => html`<div class="blank" data-testid=${testid}>
  <${Waves} /><p class="blank-title">${title}</p><p>${text}</p>${children}</div>`

const Waves = () => html`<svg class="waves" viewBox="0 0 120 40" aria-hidden="true" focusable="false">
  <path d="M6 18v4M16 14v12M26 8v24M36 15v10M46 4v32M56 12v16M66 17v6M76 20h34M76 28h22M76 12h28" /></svg>`
