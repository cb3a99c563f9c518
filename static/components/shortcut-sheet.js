/** All shortcuts of the page, by what they are for. */
import { html } from 'htm/preact'
import { closeDialog } from '../state/dialogs.js'
import { t } from '../text/i18n.js'
import { keyNames, SHORTCUTS } from '../util/shortcuts.js'
import { Dialog } from './dialog.js'

export function ShortcutSheet() {
  return html`<${Dialog} title=${t('shortcuts.title')} testid="shortcuts" isWide onClose=${closeDialog} onSubmit=${closeDialog}>
    <div class="shortcut-groups">
      ${Object.entries(SHORTCUTS).map(([group, shortcuts]) => html`<${Group} key=${group} name=${group} shortcuts=${shortcuts} />`)}
    </div>
    <footer><button type="submit" class="primary">${t('shortcuts.close')}</button></footer>
  <//>`
}

function Group({ name, shortcuts }) {
  return html`<section>
    <h3>${t(`shortcuts.group_${name}`)}</h3>
    <dl>${shortcuts.map(
      ([shortcut, ...keys]) => html`<div key=${shortcut}><dt>${t(`shortcuts.${shortcut}`)}</dt>
        <dd>${keys.map((one) => html`<${Keys} keys=${one} />`)}</dd></div>`,
    )}</dl>
  </section>`
}

function Keys({ keys }) {
  return html`<span class="keys">${keyNames(keys).map((name) => html`<kbd>${name === 'Space' ? t('shortcuts.space') : name}</kbd>`)}</span>`
}
