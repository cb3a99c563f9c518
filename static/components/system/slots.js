/** Every device with its memory, its models and its slots, taken or free. */
import { html } from 'htm/preact'
import { bandColour, modelColour, styled } from '../../plots/colours.js'
import { memoryNow } from '../../plots/memory-bands.js'
import { slotsOf, titleOf, withLiveProgress } from '../../state/devices.js'
import { system, taskOf } from '../../state/store.js'
import { formatBytes, formatPercent, formatSpan } from '../../text/format.js'
import { t } from '../../text/i18n.js'
import { taskAddress } from '../../util/address.js'
import { eachSecond } from '../../util/ticker.js'

/** Up to this many free slots are drawn as large as taken ones; more of them share one line. */
const MOST_LARGE_FREE_SLOTS = 4

export function Slots() {
  const devices = system.value?.devices ?? []
  return html`<section class="panel-card" aria-labelledby="slots-title">
    <h3 id="slots-title">${t('slots.title')}</h3>
    ${devices.length === 0 && html`<p class="faint">${t('slots.none')}</p>`}
    ${devices.map((device) => html`<${Device} key=${device.name} device=${device} />`)}
  </section>`
}

function Device({ device }) {
  const { taken, free } = slotsOf(device)
  const title = titleOf(device)
  return html`<article class="slots-device" data-testid="slots" data-device=${device.name}>
    <header>
      <b>${device.name}</b>
      ${title && html`<span class="faint">${title}</span>`}
      <span class="slots-count">${stateText(device, taken.length)}</span>
    </header>
    <${Memory} device=${device} />
    <${Models} models=${device.models ?? []} />
    <ul class="slot-grid">
      ${taken.map((task, index) => html`<${TakenSlot} key=${task.id || index} task=${task} />`)}
      ${free > MOST_LARGE_FREE_SLOTS ? html`<${FreeSlotRow} count=${free} />` : freeSlots(free)}
    </ul>
  </article>`
}

function stateText({ state, slots }, taken) {
  return state === 'ready' ? t('slots.count', { taken, count: slots ?? taken }) : t(`devices.${state}`)
}

function Memory({ device }) {
  const { name, used, reserved, total, free, headroom = 0, others = 0 } = device
  const bands = memoryNow(device)
  const widthOf = (bytes) => `${total ? (100 * bytes) / total : 0}%`
  const sizes = { used: formatBytes(used), reserved: formatBytes(reserved), total: formatBytes(total) }
  const freeText = t('slots.free_memory', { size: formatBytes(free) })
  const bandText = ({ kind, model, bytes }) =>
    t('slots.memory', { label: model ?? t(`plot.${kind}`), size: formatBytes(bytes) })
  return html`<div class="memory-now" role="img" aria-label=${t('devices.memory', { device: name, ...sizes })}
      title=${[...bands.map(bandText), freeText].join('\n')}>
      ${bands.map((band) => html`<span style=${{ width: widthOf(band.bytes), background: styled(bandColour(band)) }}></span>`)}
      <span class="memory-headroom" style=${{ width: widthOf(headroom) }} title=${t('slots.headroom', { size: formatBytes(headroom) })}></span>
    </div>
    <p class="memory-now-words faint">
      <span>${t('devices.of', { used: formatBytes(reserved + others), total: sizes.total })}</span><span>${freeText}</span>
    </p>`
}

const MODEL_STATES = { loading: 'slots.loading', evicting: 'slots.evicting' }

function Models({ models }) {
  if (models.length === 0) return html`<p class="faint slots-models">${t('devices.no_models')}</p>`
  return html`<ul class="slots-models" aria-label=${t('slots.models')}>
    ${models.map((model) => html`<${Model} key=${model.name} model=${model} />`)}
  </ul>`
}

function Model({ model: { name, reserved_bytes: bytes, state, is_used: isUsed } }) {
  const note = MODEL_STATES[state] ?? (isUsed ? 'slots.in_use' : null)
  return html`<li class="model-chip is-${state}" data-testid="model-chip">
    <i class="swatch" style=${{ color: styled(modelColour(name)) }}></i><b>${name}</b> <span>${formatBytes(bytes)}</span>
    ${note && html`<em>${t(note)}</em>`}
  </li>`
}

function TakenSlot({ task: reported }) {
  const task = withLiveProgress(reported, taskOf(reported.id)?.value, eachSecond.value)
  const { id, filename: name, model, priority, progress = 0, eta_seconds: eta } = task
  return html`<li class="slot" data-testid="slot" data-task-id=${id}>
    ${
      id
        ? html`<a class="slot-name" href=${taskAddress(id)} title=${name} dir="auto">${name}</a>`
        : html`<span class="slot-name faint">${t('slots.others')}</span>`
    }
    <p class="slot-model">
      <i class="swatch" style=${{ color: styled(modelColour(model)) }}></i><span>${model}</span>
      ${priority !== 'normal' && html`<span class="slot-priority is-${priority}">${t(`priority.${priority}`)}</span>`}
      <b>${formatPercent(progress)}</b>
    </p>
    <progress value=${progress} max="1" aria-label=${t('slots.progress', { name })}></progress>
    <p class="slot-figures">
      <span>${t('slots.reserved', { size: formatBytes(task.reserved_bytes) })}</span>
      ${eta != null && html`<span>${t('slots.left', { span: formatSpan(eta) })}</span>`}
    </p>
  </li>`
}

function freeSlots(count) {
  const slots = Array.from({ length: count }, (_, index) => `free-${index}`)
  return slots.map((key) => html`<li key=${key} class="slot is-free" data-testid="slot-free">${t('slots.free')}</li>`)
}

function FreeSlotRow({ count }) {
  return html`<li class="slot-free-row" data-testid="slot-free-row">
    <span>${t('slots.free')}</span>
    <span class="slot-free-squares" aria-hidden="true">${Array.from({ length: count }, () => html`<i></i>`)}</span>
    <span class="faint">${count}</span>
  </li>`
}
