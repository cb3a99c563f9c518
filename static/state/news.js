/**
 * Recordings that are done: collected for a moment, so that many at once are one message, then told to screen readers, and
 * in a notification where the person wants it and is not looking at the page.
 */
import { computed, effect, signal } from '@preact/signals'
import { t } from '../text/i18n.js'
import { newsText, pageTitle } from '../text/news-text.js'
import { openTask, view } from '../util/address.js'
import { preference } from '../util/preferences.js'
import { accountName } from './account.js'
import { counts, followEnds, refreshSystem } from './store.js'
import { nameOfTask } from './task.js'
import { toast } from './toasts.js'

const COLLECTED_MS = 1500
const LONGEST_NAMES = 5

const { Notification: BrowserNotification, isSecureContext: isSecure = false } = globalThis

export const canNotify = isSecure && BrowserNotification !== undefined
const wanted = preference('notify', false)
const permission = signal(BrowserNotification?.permission ?? 'denied')
/** Whether notifications are wanted and allowed. */
export const isNotifying = computed(() => wanted.value && permission.value === 'granted')

/** The latest message, for screen readers. */
export const announcement = signal('')
/** How many were done while the page was not looked at. */
const unseen = signal(0)
const left = computed(() =>
  ['pending', 'retrying', 'processing'].reduce((sum, one) => sum + (counts.value[one] ?? 0), 0),
)

let ended = []
let timer = null

/** Asks the browser for its permission when notifications are wanted for the first time. */
export async function toggleNotifying() {
  if (isNotifying.peek()) {
    wanted.value = false
    return
  }
  permission.value = await BrowserNotification.requestPermission()
  wanted.value = permission.peek() === 'granted'
  toast(t(wanted.peek() ? 'news.notify_on' : 'news.blocked'), { tone: wanted.peek() ? 'info' : 'error' })
}

/**
 * Begins to follow what is done, and to say in the title of the tab how many are left. activeCount: the signal of how many
 * files are being sent.
 */
export function followNews(productName, activeCount) {
  followEnds(onEnd)
  effect(() => {
    const viewName = view.value === 'queue' ? '' : t(`views.${view.value}`)
    document.title = pageTitle({ unseen: unseen.value, left: left.value, viewName, productName })
  })
  followUploads(activeCount)
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) unseen.value = 0
  })
}

/** Says when files begin to be sent, and when none is left; not each of a hundred. */
function followUploads(activeCount) {
  let before = 0
  effect(() => {
    const count = activeCount.value
    if (count > 0 !== before > 0) announcement.value = count > 0 ? t('news.uploading', { count }) : t('news.uploaded')
    before = count
  })
}

/** task: has just been completed, or has failed. */
function onEnd(task) {
  if (!['completed', 'failed'].includes(task.status) || !isMine(task)) return
  if (document.hidden) unseen.value += 1
  ended.push({ id: task.id, status: task.status, name: nameOfTask(task) })
  if (timer === null) timer = setTimeout(tell, COLLECTED_MS)
}

/** An admin sees everybody's tasks, but is told only of their own. */
const isMine = ({ owner }) => accountName === '' || owner === undefined || owner === accountName

async function tell() {
  const told = ended
  ended = []
  timer = null
  await refreshSystem().catch(() => {}) // For how many are left; without an answer what was known is told.
  announcement.value = newsText(told, left.peek())
  if (document.hidden && isNotifying.peek()) notify(told, announcement.peek())
}

function notify(told, text) {
  const names = told.slice(0, LONGEST_NAMES).map(({ name }) => name)
  try {
    // The tag lets a newer message take the place of an older one.
    const notification = new BrowserNotification(text, { body: told.length > 1 ? names.join('\n') : '', tag: 'done' })
    notification.onclick = () => {
      window.focus()
      openTask(told[0].id)
      notification.close()
    }
  } catch {
    // Browsers of phones allow it to service workers only.
  }
}
