/** Every device with its memory, its models and its places for tasks, taken or free. */
import { html } from 'htm/preact'
import { bandColour, modelColour, styled } from '../../plots/colours.js'
import { memoryNow } from '../../plots/memory-bands.js'
import { slotsOf, withLiveProgress } from '../../state/devices.js'
import { system, taskOf } from '../../state/store.js'
import { formatBytes, formatPercent, formatSpan, t } from '../../text/i18n.js'
import { taskAddress } from '../../util/address.js'
import { eachSecond } from '../../util/ticker.js'

/** So many free places are drawn as large as taken ones; more would only push everything else away. */
const LARGE_FREE_SLOTS = 4

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
  return html`<article class="slots-device" data-testid="slots" data-device=${device.name}>
    <header>
      <b>${device.name}</b>
      ${device.title && device.title !== device.name && html`<span class="faint">${device.title}</span>`}
      <span class="slots-count">${device.state === 'ready' ? t('slots.count', { taken: taken.length, count: device.slots ?? taken.length }) : t(`devices.${device.state}`)}</span>
    </header>
    <${Memory} device=${device} />
    <${Models} models=${device.models ?? []} />
    <ul class="slot-grid">
      ${taken.map((task) => html`<${Taken} key=${task.id} task=${task} />`)}
      ${free > LARGE_FREE_SLOTS ? html`<${FreeRow} count=${free} />` : Array.from({ length: free }, (_, index) => html`<li key=${`free-${index}`} class="slot is-free" data-testid="slot-free">${t('slots.free')}</li>`)}
    </ul>
  </article>`
}

function Memory({ device }) {
  const bands = memoryNow(device)
  const parts = bands.map(({ kind, model, bytes }) =>
    t('slots.memory', { label: model ?? t(`plot.${kind}`), size: formatBytes(bytes) }),
  )
  const free = t('slots.free_memory', { size: formatBytes(device.free) })
  const label = t('devices.memory', {
    device: device.name,
    used: formatBytes(device.used),
    reserved: formatBytes(device.reserved),
    total: formatBytes(device.total),
  })
  return html`<div class="memory-now" role="img" aria-label=${label} title=${[...parts, free].join('\n')}>
      ${bands.map((band) => html`<span style=${{ width: `${device.total ? (100 * band.bytes) / device.total : 0}%`, background: styled(bandColour(band)) }}></span>`)}
      <span class="memory-headroom" style=${{ width: `${device.total ? (100 * (device.headroom ?? 0)) / device.total : 0}%` }} title=${t('slots.headroom', { size: formatBytes(device.headroom) })}></span>
    </div>
    <p class="memory-now-words faint"><span>${t('devices.of', { used: formatBytes(device.reserved + (device.others ?? 0)), total: formatBytes(device.total) })}</span><span>${free}</span></p>`
}

const STATES = { loading: 'slots.loading', evicting: 'slots.evicting' }

function Models({ models }) {
  if (models.length === 0) return html`<p class="faint slots-models">${t('devices.no_models')}</p>`
  return html`<ul class="slots-models" aria-label=${t('slots.models')}>
    ${models.map(
      ({
        name,
        reserved_bytes: bytes,
        state,
        is_used: isUsed,
      }) => html`<li key=${name} class="model-chip is-${state}" data-testid="model-chip">
      <i class="swatch" style=${{ color: styled(modelColour(name)) }}></i><b>${name}</b> <span>${formatBytes(bytes)}</span>
      ${(STATES[state] || isUsed) && html`<em>${t(STATES[state] ?? 'slots.in_use')}</em>`}
    </li>`,
    )}
  </ul>`
}

function Taken({ task: reported }) {
  const task = withLiveProgress(reported, taskOf(reported.id)?.value, eachSecond.value)
  const progress = task.progress ?? 0
  return html`<li class="slot" data-testid="slot" data-task-id=${task.id}>
    <a class="slot-name" href=${taskAddress(task.id)} title=${task.filename} dir="auto">${task.filename}</a>
    <p class="slot-model"><i class="swatch" style=${{ color: styled(modelColour(task.model)) }}></i><span>${task.model}</span>
      ${task.priority !== 'normal' && html`<span class="slot-priority is-${task.priority}">${t(`priority.${task.priority}`)}</span>`}
      <b>${formatPercent(progress)}</b></p>
    <progress value=${progress} max="1" aria-label=${t('slots.progress', { name: task.filename })}></progress>
    <p class="slot-figures"><span>${t('slots.reserved', { size: formatBytes(task.reserved_bytes) })}</span>
      ${task.eta_seconds != null && html`<span>${t('slots.left', { span: formatSpan(task.eta_seconds) })}</span>`}</p>
  </li>`
}

function FreeRow({ count }) {
  return html`<li class="slot-free-row" data-testid="slot-free-row"><span>${t('slots.free')}</span>
    <span class="slot-free-squares" aria-hidden="true">${Array.from({ length: count }, () => html`<i></i>`)}</span><span class="faint">${count}</span></li>`
}
