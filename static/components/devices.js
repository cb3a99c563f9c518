/** A strip above the queue: each device with its memory and loaded models, downloads of models, and the speed of it all. */
import { html } from 'htm/preact'
import { isAdmin } from '../state/account.js'
import { titleOf } from '../state/devices.js'
import { fetchedShare } from '../state/model-fetches.js'
import { system } from '../state/store.js'
import { formatBytes, formatNumber, formatPercent } from '../text/format.js'
import { t } from '../text/i18n.js'
import { adviceText } from '../text/messages.js'
import { Icon } from './icons.js'

export function Devices() {
  const state = system.value
  if (state === null) {
    return html`<section class="devices" aria-busy="true"><div class="device is-blank"></div></section>`
  }
  return html`<section class="devices" aria-label=${t('devices.title')} data-testid="devices">
    ${state.devices.map((device) => html`<${Device} key=${device.name} device=${device} />`)}
    ${state.devices.length === 0 && html`<p class="device">${t('devices.none')}</p>`}
    ${(state.fetches ?? []).map((fetch) => html`<${Fetch} key=${fetch.model} fetch=${fetch} />`)}
    <${Notes} state=${state} />
  </section>`
}

function Device({ device }) {
  const { name, resident_models: models } = device
  const title = titleOf(device)
  return html`<article class="device" data-testid="device" data-device=${name}>
    <header>
      <span class="device-name"><${Icon} name="chip" /><b>${name}</b></span>
      ${title && html`<span class="device-title" title=${title}>${title}</span>`}
      <span class="device-models">
        ${models.map((model) => html`<span class="tag" data-testid="resident-model">${model}</span>`)}
        ${models.length === 0 && html`<span class="faint">${t('devices.no_models')}</span>`}
      </span>
      <span class="device-state">${stateText(device)}</span>
    </header>
    <${Memory} device=${device} />
  </article>`
}

function Memory({ device: { name, used, reserved, total } }) {
  const sizes = { used: formatBytes(used), reserved: formatBytes(reserved), total: formatBytes(total) }
  const label = t('devices.memory', { device: name, ...sizes })
  return html`<div class="device-memory">
    <div class="memory" role="img" aria-label=${label} title=${label}>
      <span class="memory-reserved" style=${{ width: widthOf(reserved, total) }}></span>
      <span class="memory-used" style=${{ width: widthOf(used, total) }}></span>
    </div>
    <p class="memory-words" aria-hidden="true">
      <span class="key-used">${t('devices.used')} <b>${sizes.used}</b></span>
      <span class="key-reserved">${t('devices.reserved')} <b>${sizes.reserved}</b></span>
      <span class="memory-total">${sizes.total}</span>
    </p>
  </div>`
}

const widthOf = (part, total) => `${total ? Math.min(100, (100 * part) / total) : 0}%`

function stateText(device) {
  if (device.state !== 'ready') return t(`devices.${device.state}`)
  const count = device.running.length
  return count ? t('devices.running', { count }) : t('devices.idle')
}

function Fetch({ fetch }) {
  const { model, done_bytes: done, total_bytes: total } = fetch
  const share = fetchedShare(fetch)
  const title = t('model.fetching_title', { model })
  return html`<article class="device" data-testid="model-progress" data-model=${model}>
    <header>
      <span class="device-name"><${Icon} name="download" /><b>${title}</b></span>
      <span class="device-state">${formatPercent(share)}</span>
    </header>
    <div class="device-memory">
      <progress value=${share} max="1" aria-label=${title}></progress>
      <p class="memory-words"><span>${t('devices.of', { used: formatBytes(done), total: formatBytes(total) })}</span></p>
    </div>
  </article>`
}

/** The throughput, and advice that concerns whoever runs the server. */
function Notes({ state }) {
  const speed = state.throughput?.audio_seconds_per_second ?? 0
  const advice = isAdmin ? (state.advice_items ?? []).map(adviceText) : []
  const isPlain = state.path === 'plain'
  if (!speed && !advice.length && !isPlain) return null
  return html`<div class="device-notes">
    ${
      speed > 0 &&
      html`<span title=${t('devices.throughput_hint')} data-testid="throughput">
        ${t('devices.throughput', { speed: formatNumber(speed, 1) })}</span>`
    }
    ${isPlain && html`<span>${t('devices.plain_path')}</span>`}
    ${advice.map((text) => html`<span class="advice">${text}</span>`)}
  </div>`
}
