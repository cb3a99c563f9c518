/** One strip: each device with its memory and its loaded models, the models being fetched, and how fast it all goes. */
import { html } from 'htm/preact'
import { system } from '../state/store.js'
import { adviceText, formatBytes, formatNumber, formatPercent, t } from '../text/i18n.js'
import { Icon } from './icons.js'

export function Devices() {
  const state = system.value
  if (state === null)
    return html`<section class="devices" aria-busy="true"><div class="device is-blank"></div></section>`
  return html`<section class="devices" aria-label=${t('devices.title')} data-testid="devices">
    ${state.devices.map((device) => html`<${Device} key=${device.name} device=${device} />`)}
    ${state.devices.length === 0 && html`<p class="device">${t('devices.none')}</p>`}
    ${(state.fetches ?? []).map((fetch) => html`<${Fetch} key=${fetch.model} fetch=${fetch} />`)}
    <${Throughput} state=${state} />
  </section>`
}

function Device({ device }) {
  const { name, title, used, reserved, total, resident_models: models } = device
  const label = t('devices.memory', {
    device: name,
    used: formatBytes(used),
    reserved: formatBytes(reserved),
    total: formatBytes(total),
  })
  return html`<article class="device" data-testid="device" data-device=${name}>
    <header>
      <span class="device-name"><${Icon} name="chip" /><b>${name}</b></span>
      ${title && title !== name && html`<span class="device-title" title=${title}>${title}</span>`}
      <span class="device-models">
        ${models.length ? models.map((model) => html`<span class="tag" data-testid="resident-model">${model}</span>`) : html`<span class="faint">${t('devices.no_models')}</span>`}
      </span>
      <span class="device-state">${stateText(device)}</span>
    </header>
    <div class="device-memory">
      <div class="memory" role="img" aria-label=${label} title=${label}>
        <span class="memory-reserved" style=${{ width: widthOf(reserved, total) }}></span>
        <span class="memory-used" style=${{ width: widthOf(used, total) }}></span>
      </div>
      <p class="memory-words" aria-hidden="true">
        <span class="key-used">${t('devices.used')} <b>${formatBytes(used)}</b></span>
        <span class="key-reserved">${t('devices.reserved')} <b>${formatBytes(reserved)}</b></span>
        <span class="memory-total">${formatBytes(total)}</span>
      </p>
    </div>
  </article>`
}

const widthOf = (part, total) => `${total ? Math.min(100, (100 * part) / total) : 0}%`

function stateText(device) {
  if (device.state !== 'ready') return t(`devices.${device.state}`)
  const count = device.running.length
  return count ? t('devices.running', { count }) : t('devices.idle')
}

function Fetch({ fetch }) {
  const share = fetch.total_bytes ? fetch.done_bytes / fetch.total_bytes : 0
  const title = t('model.fetching_title', { model: fetch.model })
  return html`<article class="device" data-testid="model-progress" data-model=${fetch.model}>
    <header>
      <span class="device-name"><${Icon} name="download" /><b>${title}</b></span>
      <span class="device-state">${formatPercent(share)}</span>
    </header>
    <div class="device-memory">
      <progress value=${share} max="1" aria-label=${title}></progress>
      <p class="memory-words"><span>${t('devices.of', { used: formatBytes(fetch.done_bytes), total: formatBytes(fetch.total_bytes) })}</span></p>
    </div>
  </article>`
}

function Throughput({ state }) {
  const speed = state.throughput?.audio_seconds_per_second ?? 0
  const notes = (state.advice_items ?? []).map(adviceText)
  if (!speed && !notes.length && state.path !== 'plain') return null
  return html`<div class="device-notes">
    ${speed > 0 && html`<span title=${t('devices.throughput_hint')} data-testid="throughput">${t('devices.throughput', { speed: formatNumber(speed, 1) })}</span>`}
    ${state.path === 'plain' && html`<span>${t('devices.plain_path')}</span>`}
    ${notes.map((note) => html`<span class="advice">${note}</span>`)}
  </div>`
}
