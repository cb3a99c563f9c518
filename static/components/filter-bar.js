/** In which order the list stands, and what narrows it beside the status and the search. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { accountName, isAdmin } from '../state/account.js'
import { batches } from '../state/batches.js'
import { LINE, NO_FILTER, narrowedBy } from '../state/list-filter.js'
import { filter, models, setFilter } from '../state/store.js'
import { knownOwners, knownTags } from '../state/tags.js'
import { t } from '../text/i18n.js'
import { Icon } from './icons.js'

const isOpen = signal(false)
/** The choices of the order, each "sort-order". */
const ORDERS = [
  'line',
  'created-desc',
  'created-asc',
  'finished-desc',
  'name-asc',
  'length-desc',
  'length-asc',
  'model-asc',
]
/** Numbers are typed, so the list is read again only when the person pauses. */
const TYPING_PAUSE_MS = 400

/** Owners are told to an admin, where there are accounts. */
const hasOwners = accountName !== '' && isAdmin

const change = (changes) => setFilter({ more: { ...filter.peek(), ...changes } })

export function FilterButton() {
  const count = narrowedBy(filter.value).length + (filter.value.sort === LINE ? 0 : 1)
  const label = count ? t('filter.button_set', { count }) : t('filter.button')
  return html`<button type="button" class="quiet filter-button ${count ? 'is-set' : ''}" aria-expanded=${isOpen.value} aria-controls="filter-bar"
    aria-label=${label} title=${label} data-testid="filter" onClick=${() => (isOpen.value = !isOpen.value)}>
    <${Icon} name="filter" />${count > 0 && html`<span class="count">${count}</span>`}
  </button>`
}

/** What narrows the list, one by one, whether the fields are shown or not. */
export function FilterChips() {
  const names = narrowedBy(filter.value)
  if (names.length === 0) return null
  return html`<div class="set-options" data-testid="filter-chips">
    ${names.map((name) => html`<${Chip} key=${name} name=${name} />`)}
  </div>`
}

function Chip({ name }) {
  const value = name === 'batch' ? (batches.value[filter.value.batch]?.name ?? '') : filter.value[name]
  const text = [t(name === 'model' ? 'option.model' : `filter.${name}`), value].filter(Boolean).join(' · ')
  const label = t('option.unset', { name: text })
  return html`<button type="button" class="set-option" aria-label=${label} title=${label} data-testid="unfilter-${name}"
    onClick=${() => change({ [name]: '' })}><span dir="auto">${text}</span><${Icon} name="close" /></button>`
}

export function FilterBar() {
  if (!isOpen.value) return null
  const isSet = filter.value !== NO_FILTER
  return html`<section class="filter-bar card" id="filter-bar" aria-label=${t('filter.button')} data-testid="filter-bar">
    <${OrderField} />
    <${Field} name="from" type="date" />
    <${Field} name="to" type="date" />
    <${Field} name="min_minutes" type="number" />
    <${Field} name="max_minutes" type="number" />
    <${ModelField} />
    <${Field} name="tag" suggestions=${knownTags.value} />
    ${hasOwners && html`<${Field} name="owner" suggestions=${knownOwners.value} />`}
    ${isSet && html`<button type="button" class="quiet small" data-testid="filter-reset" onClick=${() => setFilter({ more: NO_FILTER })}>${t('filter.reset')}</button>`}
  </section>`
}

function OrderField() {
  const { sort, order } = filter.value
  const chosen = sort === LINE ? LINE : `${sort}-${order}`
  const choose = (value) => {
    const [name, direction = ''] = value.split('-')
    change({ sort: name, order: direction })
  }
  return html`<label class="option">
    <span>${t('filter.order')}</span>
    <select data-testid="filter-order" value=${chosen} onChange=${(event) => choose(event.target.value)}>
      ${ORDERS.map((value) => html`<option value=${value} selected=${value === chosen}>${t(`order.${value.replace('-', '_')}`)}</option>`)}
      ${hasOwners && html`<option value="owner-asc" selected=${chosen === 'owner-asc'}>${t('order.owner_asc')}</option>`}
    </select>
  </label>`
}

function ModelField() {
  const offered = models.value?.models ?? []
  return html`<label class="option">
    <span>${t('option.model')}</span>
    <select data-testid="filter-model" value=${filter.value.model} onChange=${(event) => change({ model: event.target.value })}>
      <option value="">${t('filter.any')}</option>
      ${offered.map(({ name }) => html`<option value=${name} selected=${name === filter.value.model}>${name}</option>`)}
    </select>
  </label>`
}

let timer = null

function Field({ name, type = 'text', suggestions = [] }) {
  const onInput = (event) => {
    const { value } = event.target
    clearTimeout(timer)
    timer = setTimeout(() => change({ [name]: value.trim() }), TYPING_PAUSE_MS)
  }
  const list = suggestions.length > 0 ? `suggested-${name}` : undefined
  return html`<label class="option">
    <span>${t(`filter.${name}`)}</span>
    <input type=${type} min=${type === 'number' ? 0 : undefined} step=${type === 'number' ? 'any' : undefined} list=${list}
      value=${filter.value[name]} autocomplete="off" data-testid="filter-${name}" onInput=${onInput} />
    ${list && html`<datalist id=${list}>${suggestions.map((text) => html`<option value=${text}></option>`)}</datalist>`}
  </label>`
}
