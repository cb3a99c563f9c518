/** The top of the page: its name, its views, whether it is live, and the two switches. */
import { html } from 'htm/preact'
import { connection } from '../state/live-feed.js'
import { LANGUAGE_TITLES, language, t } from '../text/i18n.js'
import { VIEWS, view } from '../util/address.js'
import { THEMES, theme } from '../util/preferences.js'
import { Icon, Mark } from './icons.js'

const THEME_ICONS = { auto: 'contrast', light: 'sun', dark: 'moon' }
const SHORT_TITLES = { en: 'EN', zh: '中文' }

export function Header({ name }) {
  return html`<header class="top">
    <a class="skip" href="#queue" onClick=${skipToContent}>${t('app.skip')}</a>
    <div class="brand"><${Mark} /><h1>${name}</h1></div>
    <${Views} />
    <${Connection} />
    <div class="switches">
      <fieldset class="segmented" data-testid="theme">
        <legend>${t('theme.label')}</legend>
        ${THEMES.map(
          (name) => html`<${Choice} group="theme" value=${name} choice=${theme} label=${t(`theme.${name}`)}
          content=${html`<${Icon} name=${THEME_ICONS[name]} />`} />`,
        )}
      </fieldset>
      <fieldset class="segmented" data-testid="language">
        <legend>${t('language.label')}</legend>
        ${Object.entries(LANGUAGE_TITLES).map(
          ([code, title]) => html`<${Choice} group="language" value=${code} choice=${language}
          label=${title} content=${html`<span lang=${code}>${SHORT_TITLES[code]}</span>`} />`,
        )}
      </fieldset>
    </div>
  </header>`
}

function Views() {
  return html`<nav class="segmented views" aria-label=${t('views.label')}>
    ${VIEWS.map((name) => html`<a href="#${name}" aria-current=${view.value === name ? 'page' : undefined} data-testid="view-${name}">${t(`views.${name}`)}</a>`)}
  </nav>`
}

function Choice({ group, value, choice, label, content }) {
  return html`<label title=${label}>
    <input type="radio" name=${group} value=${value} checked=${choice.value === value} aria-label=${label}
      data-testid="${group}-${value}" onChange=${() => (choice.value = value)} />
    ${content}
  </label>`
}

function Connection() {
  const words = { connected: t('live.connected'), connecting: t('live.connecting'), lost: t('live.connecting') }[
    connection.value
  ]
  return html`<p class="connection is-${connection.value}" data-testid="connection" data-state=${connection.value}>
    <span class="dot"></span><span class="connection-words">${words}</span>
  </p>`
}

/** The address holds the open task, so the link moves the focus itself. */
function skipToContent(event) {
  event.preventDefault()
  document.getElementById(view.value === 'queue' ? 'queue' : 'system-title').focus()
}
