/** What a choice of model allows, and how a model is put in words. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { models, system } from '../../static/state/store.js'
import { AUTO, choices, choose, chosenDevice, chosenFields, offeredDevices } from '../../static/state/upload-options.js'
import { language } from '../../static/text/language.js'
import { availabilityText, errorRateText, speedText } from '../../static/text/model-text.js'

const BASE = {
  name: 'base',
  precision: 'default',
  weights: 'base',
  device_kinds: ['cpu', 'cuda'],
  is_multilingual: true,
}
const PACKED = { ...BASE, name: 'base-int8', precision: 'int8', device_kinds: ['cpu'] }
const CPU = { name: 'cpu', kind: 'cpu' }
const CARD = { name: 'cuda:0', kind: 'cuda' }

test('an int8 model is offered the CPU only, and a card that was chosen before is not asked for', () => {
  models.value = { models: [BASE, PACKED], default: 'base', default_language: 'auto', languages: {} }
  system.value = { devices: [CARD, CPU] }
  choices.value = { ...choices.value, model: 'base', device: 'cuda:0' }
  assert.deepEqual(offeredDevices.value, [CARD, CPU])
  assert.equal(chosenDevice.value, 'cuda:0')

  choose('model', 'base-int8')
  assert.deepEqual(offeredDevices.value, [CPU])
  assert.equal(chosenDevice.value, AUTO)
  assert.deepEqual([chosenFields().model, chosenFields().device], ['base-int8', AUTO])

  choose('model', 'base')
  assert.equal(chosenDevice.value, 'cuda:0')
})

test('until the models are known every device is offered', () => {
  models.value = null
  system.value = { devices: [CARD, CPU] }
  assert.deepEqual(offeredDevices.value, [CARD, CPU])
})

test('what was not measured is left out', () => {
  language.value = 'en'
  assert.equal(speedText({ speed: 14.23 }), '14× real time')
  assert.equal(speedText({ speed: 6.84 }), '6.8× real time')
  assert.equal(speedText({ speed: null }), null)
  assert.equal(errorRateText({ word_error_rate: 0.0406 }), '4.1% word error rate')
  assert.equal(errorRateText({ word_error_rate: null }), null)
  assert.equal(availabilityText({ is_available: false }, null), 'not downloaded')
  assert.equal(availabilityText({ is_available: false }, 0.4), 'downloading, 40%')
  assert.equal(availabilityText({ is_available: true }, null), 'ready')
})
