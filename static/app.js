/** The entry module: draws the page and starts what runs in the background. */
import { effect, signal } from '@preact/signals'
import { html } from 'htm/preact'
import { render } from 'preact'
import { LOGGED_OUT } from './api.js'
import { AgainDialog } from './components/again-dialog.js'
import { ConfirmDialog } from './components/confirm.js'
import { Devices } from './components/devices.js'
import { DropZone } from './components/dropzone.js'
import { EditDialogs } from './components/edit-dialogs.js'
import { Header } from './components/header.js'
import { Announcements } from './components/news.js'
import { Queue } from './components/queue.js'
import { RedoDialog } from './components/redo-dialog.js'
import { ShareDialog } from './components/share-dialog.js'
import { SubtitleDialog } from './components/subtitle-dialog.js'
import { SystemView } from './components/system/view.js'
import { TaskDialog } from './components/task-dialog.js'
import { Toasts } from './components/toasts.js'
import { TranscriptPanel } from './components/transcript-panel.js'
import { revealArrivals } from './hooks/reveal-arrivals.js'
import { showDialog } from './state/dialogs.js'
import { startEditing } from './state/editing.js'
import { connection, startLive } from './state/live-feed.js'
import { followNews } from './state/news.js'
import { hasHost } from './state/proxy.js'
import { sendKeptFiles } from './state/recording.js'
import { activeCount, guardUploads, showUnfinished } from './state/uploads.js'
import { followLanguage, loadTexts, t } from './text/i18n.js'
import { followAddress, openId, view } from './util/address.js'
import { followTheme } from './util/preferences.js'
import { registerServiceWorker } from './util/register-worker.js'
import { isTyping } from './util/shortcuts.js'
import { startTicker } from './util/ticker.js'

/** Wide enough for the queue with a transcript beside it. */
const wide = matchMedia('(min-width: 1100px)')
const isWide = signal(wide.matches)

function App({ name, version }) {
  const open = openId.value
  const isModal = open !== null && !isWide.value
  return html`<div class="page ${open ? 'has-panel' : ''} is-${view.value}">
    <div class="main" inert=${isModal}>
      <${Header} name=${name} />
      <${ConnectionNotice} />
      <main>
        <div class="view" hidden=${view.value !== 'queue'}><${DropZone} /><${Devices} /><${Queue} /></div>
        ${view.value === 'system' && html`<${SystemView} />`}
      </main>
      <${Footer} version=${version} />
    </div>
    ${open && html`<${TranscriptPanel} id=${open} isModal=${isModal} />`}
    <${Toasts} />
    <${Announcements} />
    <${ConfirmDialog} />
    <${ShareDialog} />
    <${SubtitleDialog} />
    <${AgainDialog} />
    <${RedoDialog} />
    <${EditDialogs} />
    <${TaskDialog} />
  </div>`
}

function ConnectionNotice() {
  const isLost = connection.value === 'lost'
  return html`<div role="status">
    ${isLost && html`<p class="notice" data-testid="lost">${t('live.lost')}</p>`}
    ${!hasHost && html`<p class="notice" data-testid="no-host">${t('live.no_host')}</p>`}
  </div>`
}

function Footer({ version }) {
  return html`<footer class="foot">
    <span>${t('app.footer')}</span>
    <button type="button" class="small" data-testid="show-shortcuts" onClick=${() => showDialog('shortcuts')}>${t('shortcuts.title')}</button>
    <span>${t('app.version', { version })}</span>
  </footer>`
}

/** The queue stays drawn behind the System view, so that files can be dropped on both; only the scrolling is reset. */
function startViewsAtTheTop() {
  let before = view.peek()
  effect(() => {
    if (view.value !== before) requestAnimationFrame(() => scrollTo(0, 0))
    before = view.value
  })
}

/** A letter alone is a shortcut only where it is no text. */
function showShortcuts(event) {
  if (event.key !== '?' || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return
  event.preventDefault()
  showDialog('shortcuts')
}

const root = document.getElementById('app')
const { name, version } = root.dataset

wide.addEventListener('change', () => (isWide.value = wide.matches))
followTheme()
followLanguage()
followNews(name, activeCount)
followAddress()
startViewsAtTheTop()
guardUploads()
revealArrivals()
startTicker()
startEditing()
addEventListener('keydown', showShortcuts)

addEventListener(LOGGED_OUT, () => location.assign('login'), { once: true })

await loadTexts()
root.replaceChildren()
render(html`<${App} name=${name} version=${version} />`, root)
startLive()
registerServiceWorker()
showUnfinished().finally(sendKeptFiles) // In this order, so that a kept file goes on where it stopped.
