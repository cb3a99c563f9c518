/** Links to a transcript for people without an account: made, copied once, listed and revoked. */
import { signal } from '@preact/signals'
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { addShare, listShares, removeShare } from '../api.js'
import { toast, toastError } from '../state/toasts.js'
import { formatDay } from '../text/format.js'
import { t } from '../text/i18n.js'
import { copyText } from '../util/clipboard.js'
import { pageAddress } from '../util/page-address.js'
import { Dialog } from './dialog.js'

const LIFETIMES = [1, 7, 30, 365, null] // days; null: until it is revoked

const sharedTask = signal(null)

export const openShareDialog = (task) => (sharedTask.value = task)

export const ShareDialog = () =>
  sharedTask.value && html`<${ShareForm} key=${sharedTask.value.id} task=${sharedTask.value} />`

function ShareForm({ task }) {
  const [shares, setShares] = useState(null)
  const [made, setMade] = useState(null)
  const read = () => listShares(task.id).then(({ shares: found }) => setShares(found), toastError)
  useEffect(() => {
    read()
  }, [])

  const close = () => (sharedTask.value = null)
  const make = async (event) => {
    const form = new FormData(event.target)
    const days = form.get('days') === '' ? null : Number(form.get('days'))
    try {
      const answer = await addShare(task.id, { days, media: form.has('media') })
      setMade(pageAddress(answer.path))
      await read()
    } catch (error) {
      toastError(error)
    }
  }
  const revoke = (share) => removeShare(task.id, share.id).then(read, toastError)
  return html`<${Dialog} title=${t('share.title')} testid="share-dialog" name="share" onClose=${close} onSubmit=${make}>
    <p>${t('share.hint')}</p>
    <label class="option"><span>${t('share.until')}</span>
      <select name="days" data-testid="share-days">${LIFETIMES.map(
        (days) =>
          html`<option key=${days} value=${days ?? ''} selected=${days === 7}>${
            days === null ? t('share.unlimited') : t('share.days', { count: days })
          }</option>`,
      )}</select></label>
    <label class="check"><input type="checkbox" name="media" data-testid="share-media" /><span>${t('share.media')}</span></label>
    <button type="submit" class="primary" data-testid="share-make">${t('share.make')}</button>
    ${made && html`<${Made} address=${made} />`}
    ${shares?.length > 0 && html`<${List} shares=${shares} revoke=${revoke} />`}
    <footer>
      <button type="button" class="quiet" data-testid="share-close" onClick=${close}>${t('share.close')}</button>
    </footer>
  <//>`
}

/** The new link; nobody can ask for it again. */
function Made({ address }) {
  const input = useRef(null)
  useEffect(() => input.current.select(), [address])
  const copy = () =>
    copyText(address).then(
      () => toast(t('share.copied')),
      () => input.current.select(),
    )
  return html`<div class="share-made" role="status">
    <label class="option"><span>${t('share.made')}</span>
      <input ref=${input} type="text" readonly value=${address} data-testid="share-address" /></label>
    <button type="button" class="quiet" data-testid="share-copy" onClick=${copy}>${t('share.copy')}</button>
  </div>`
}

function List({ shares, revoke }) {
  return html`<h3>${t('share.list')}</h3>
    <ul class="share-list" data-testid="share-list">${shares.map(
      (share) => html`<li key=${share.id}>
        <span>${t('share.made_on', { day: formatDay(share.created_at) })} · ${
          share.expires_at ? t('share.ends_on', { day: formatDay(share.expires_at) }) : t('share.unlimited')
        }${share.media ? ` · ${t('share.with_media')}` : ''}</span>
        <button type="button" class="quiet small" onClick=${() => revoke(share)}>${t('share.revoke')}</button></li>`,
    )}</ul>`
}
