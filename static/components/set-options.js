/** Options that hold for the next files though their fields are folded away: shown one by one, and reset with a click. */
import { html } from 'htm/preact'
import { changedCount, resetAdvanced } from '../state/advanced-options.js'
import { AUTO, choices, choose, chosenDevice, MODES, prompt, setPrompt } from '../state/upload-options.js'
import { t } from '../text/i18n.js'
import { Icon } from './icons.js'

const MOST_CHARACTERS = 40

/** isAllFolded: the fields of priority and device are out of sight, too. */
export function SetOptions({ isAllFolded }) {
  const set = [...(isAllFolded ? setInSight() : []), ...setInFold()]
  if (set.length === 0) return null
  const resetAll = () => {
    for (const { reset } of set) reset()
  }
  return html`<div class="set-options" role="group" aria-label=${t('option.set')} data-testid="set-options">
    <span>${t('option.set')}</span>
    ${set.map((option) => html`<${SetOption} key=${option.name} option=${option} />`)}
    ${set.length > 1 && html`<button type="button" class="quiet small" data-testid="unset-all" onClick=${resetAll}>${t('option.unset_all')}</button>`}
  </div>`
}

function SetOption({ option: { name, text, reset } }) {
  const label = t('option.unset', { name: text })
  return html`<button type="button" class="set-option" aria-label=${label} title=${label} data-testid="unset-${name}" onClick=${reset}>
    <span dir="auto">${text}</span><${Icon} name="close" />
  </button>`
}

/** Of the fields that only a narrow window folds away. */
function setInSight() {
  const { priority } = choices.value
  return [
    priority !== 'normal' && {
      name: 'priority',
      text: t('task.priority_is', { priority: t(`priority.${priority}`) }),
      reset: () => choose('priority', 'normal'),
    },
    chosenDevice.value !== AUTO && { name: 'device', text: chosenDevice.value, reset: () => choose('device', AUTO) },
  ].filter(Boolean)
}

/** Of the fields behind "More options". */
function setInFold() {
  const { words, mode = MODES[0] } = choices.value
  const written = prompt.value.trim()
  const shown = written.length > MOST_CHARACTERS ? `${written.slice(0, MOST_CHARACTERS)}…` : written
  return [
    written && { name: 'prompt', text: t('option.set_prompt', { text: shown }), reset: () => setPrompt('') },
    words && { name: 'words', text: t('option.words'), reset: () => choose('words', false) },
    mode !== MODES[0] && { name: 'mode', text: t(`mode.${mode}`), reset: () => choose('mode', MODES[0]) },
    changedCount.value > 0 && {
      name: 'advanced',
      text: t('option.set_advanced', { count: changedCount.value }),
      reset: resetAdvanced,
    },
  ].filter(Boolean)
}
