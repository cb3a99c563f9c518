/** The top of the page: the product's name, the views, the state of the connection, two switches, and who is logged in. */
import { html } from 'htm/preact'
import { logOut } from '../api.js'
import { accountName, hasSession } from '../state/account.js'
import { connection } from '../state/live-feed.js'
import { t } from '../text/i18n.js'
import { LANGUAGES, language } from '../text/language.js'
import { VIEWS, view } from '../util/address.js'
import { THEMES, theme } from '../util/preferences.js'
import { Icon, Mark } from './icons.js'

const THEME_ICONS = { auto: 'contrast', light: 'sun', dark: 'moon' }
const CONNECTION_WORDS = { connected: 'live.connected', polled: 'live.polled' }
/** As many have a button each. */
const FEW_LANGUAGES = 3

export function Header({ name }) {
  return html`<header class="top">
    <a class="skip" href="#queue" onClick=${skipToContent}>${t('app.skip')}</a>
    <div class="brand"><${Mark} /><h1>${name}</h1></div>
    <${Views} />
    <${Connection} />
    <div class="switches"><${ThemeSwitch} /><${LanguageSwitch} /></div>
    ${accountName && html`<${Account} />`}
  </header>`
}

function Views() {
  return html`<nav class="segmented views" aria-label=${t('views.label')}>
    ${VIEWS.map(
      (
        name,
      ) => html`<a href="#${name}" aria-current=${view.value === name ? 'page' : undefined} data-testid="view-${name}">
        ${t(`views.${name}`)}
      </a>`,
    )}
  </nav>`
}

function Connection() {
  const state = connection.value
  return html`<p class="connection is-${state}" data-testid="connection" data-state=${state}>
    <span class="dot"></span>
    <span class="connection-words">${t(CONNECTION_WORDS[state] ?? 'live.connecting')}</span>
  </p>`
}

/** Who is logged in, and the way out. */
function Account() {
  return html`<div class="account" data-testid="account">
    <span class="account-name" dir="auto" title=${accountName}>${accountName}</span>
    ${hasSession && html`<button type="button" class="quiet small" data-testid="log-out" onClick=${leave}>${t('account.log_out')}</button>`}
  </div>`
}

async function leave() {
  try {
    await logOut()
  } catch (error) {
    if (error.name !== 'ApiError') throw error
  }
  location.assign('login')
}

function ThemeSwitch() {
  return html`<fieldset class="segmented" data-testid="theme">
    <legend>${t('theme.label')}</legend>
    ${THEMES.map(
      (name) => html`<${Choice} group="theme" value=${name} choice=${theme} label=${t(`theme.${name}`)}>
        <${Icon} name=${THEME_ICONS[name]} />
      <//>`,
    )}
  </fieldset>`
}

function LanguageSwitch() {
  const known = Object.entries(LANGUAGES)
  if (known.length > FEW_LANGUAGES) return html`<${LanguageList} known=${known} />`
  return html`<fieldset class="segmented" data-testid="language">
    <legend>${t('language.label')}</legend>
    ${known.map(
      ([
        code,
        { name, short, locale },
      ]) => html`<${Choice} group="language" value=${code} choice=${language} label=${name}>
        <span lang=${locale}>${short}</span>
      <//>`,
    )}
  </fieldset>`
}

function LanguageList({ known }) {
  return html`<select class="language-list" aria-label=${t('language.label')} data-testid="language"
    onChange=${(event) => (language.value = event.target.value)}>
    ${known.map(
      ([code, { name, locale }]) =>
        html`<option value=${code} lang=${locale} selected=${code === language.value}>${name}</option>`,
    )}
  </select>`
}

/** choice: the signal that holds the chosen value. */
function Choice({ group, value, choice, label, children }) {
  return html`<label title=${label}>
    <input type="radio" name=${group} value=${value} checked=${choice.value === value} aria-label=${label}
      data-testid="${group}-${value}" onChange=${() => (choice.value = value)} />
    ${children}
  </label>`
}

/** Following the link would replace the open task in the address, so only the focus is moved. */
function skipToContent(event) {
  event.preventDefault()
  document.getElementById(view.value === 'queue' ? 'queue' : 'system-title').focus()
}
