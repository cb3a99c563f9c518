/** The server's latest log lines. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { linesFrom, logLines } from '../../state/event-log.js'
import { formatTime } from '../../text/format.js'
import { t } from '../../text/i18n.js'

const LEVELS = ['DEBUG', 'INFO', 'WARNING', 'ERROR']

const level = signal('INFO')

export function Log() {
  const lines = linesFrom(logLines.value ?? [], level.value)
  return html`<section class="panel-card" aria-labelledby="log-title" data-testid="log">
    <div class="card-head"><h3 id="log-title">${t('log.title')}</h3><${LevelSelect} /></div>
    ${lines.length === 0 ? html`<p class="faint">${t('log.empty')}</p>` : html`<${Lines} lines=${lines} />`}
  </section>`
}

function LevelSelect() {
  return html`<select class="mini" aria-label=${t('log.level')} value=${level.value} data-testid="log-level"
    onChange=${(event) => (level.value = event.target.value)}>
    ${LEVELS.map((name) => html`<option value=${name} selected=${name === level.value}>${t(`log.${name}`)}</option>`)}
  </select>`
}

function Lines({ lines }) {
  return html`<ol class="log-lines" tabindex="0" aria-label=${t('log.label')} data-testid="log-lines">
    ${lines.map(
      (line) => html`<li class="is-${line.level.toLowerCase()}" lang="en" data-testid="log-line">
        <time>${formatTime(line.at * 1000)}</time> <b>${line.level}</b>${' '}
        <span class="log-logger">${line.logger}</span> <span class="log-message">${line.message}</span>
      </li>`,
    )}
  </ol>`
}
