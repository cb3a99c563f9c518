/**
 * A button that opens a short list of links or actions, also by the arrow keys. In the list arrow keys move, letters lead
 * to the next entry that begins with them, and Escape or a click elsewhere closes.
 */
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { listen } from '../util/listen.js'
import { Icon } from './icons.js'

const FIRST = 'first'
const LAST = 'last'

/**
 * groups: [{title?, note?, entries: [{text, hint?, href?, onSelect?, testid?}]}]. label: what a screen reader calls the
 * button. onOpen: called when the list is opened.
 */
export function Menu({ icon, text, label, groups, testid, kind = 'quiet', onOpen }) {
  const [isOpen, setOpen] = useState(false)
  const root = useRef(null)
  useEffect(() => (isOpen ? closeOutside(root.current, () => setOpen(false)) : undefined), [isOpen])
  useEffect(() => {
    if (isOpen) reveal(root.current, isOpen === LAST)
  }, [isOpen])

  const open = (at) => {
    onOpen?.()
    setOpen(at)
  }
  const toggle = () => (isOpen ? setOpen(false) : open(FIRST))
  const close = (isFocusKept = true) => {
    setOpen(false)
    if (isFocusKept) root.current.querySelector('.menu-button').focus()
  }
  return html`<div class="menu" ref=${root} onKeyDown=${(event) => (isOpen ? onKey(event, root.current, close) : onClosedKey(event, open))}>
    <button type="button" class="menu-button ${kind}" aria-haspopup="menu" aria-expanded=${isOpen !== false} aria-label=${label}
      title=${text ? undefined : label} data-testid=${testid} onClick=${toggle}>
      ${icon && html`<${Icon} name=${icon} />`}${text && html`<span>${text}</span>`}<${Icon} name="chevron" />
    </button>
    ${
      isOpen &&
      html`<div class="menu-list" role="menu" aria-label=${label ?? text}>
      ${groups.map((group) => html`<${Group} key=${group.title} ...${group} onDone=${close} />`)}
    </div>`
    }
  </div>`
}

function Group({ title, note, entries, onDone }) {
  return html`<fieldset class="menu-group">
    ${title && html`<legend class="menu-title">${title}</legend>`}
    ${entries.map((entry) => html`<${Entry} key=${entry.testid} ...${entry} onDone=${onDone} />`)}
    ${note && html`<p class="menu-note" role="note">${note}</p>`}
  </fieldset>`
}

function Entry({ text, hint, href, onSelect, testid, onDone }) {
  const choose = () => {
    onSelect?.()
    onDone()
  }
  const content = html`<span>${text}</span>${hint && html`<small>${hint}</small>`}`
  if (href)
    return html`<a role="menuitem" tabindex="-1" href=${href} download="" data-testid=${testid} onClick=${choose}>${content}</a>`
  return html`<button type="button" role="menuitem" tabindex="-1" data-testid=${testid} onClick=${choose}>${content}</button>`
}

/** The least height of a list that is cut, and its distance from the edge of the window, in pixels. */
const LEAST = 200
const EDGE = 8

/** Moves the focus to the list's first or last entry, and the list into view: it may reach below the window, or beyond its left edge. */
function reveal(root, isAtEnd) {
  const list = root.querySelector('.menu-list')
  if (root.closest('.reading-bar')) fitIntoWindow(root, list)
  const entries = [...list.querySelectorAll('[role=menuitem]')]
  entries.at(isAtEnd ? -1 : 0)?.focus({ preventScroll: true })
  if (list.getBoundingClientRect().left < 0) list.classList.add('is-left')
  list.scrollIntoView({ block: 'nearest' })
}

/** In a bar that stays where it is, what reaches beyond the window cannot be scrolled to. */
function fitIntoWindow(root, list) {
  const { top, bottom } = root.getBoundingClientRect()
  const below = innerHeight - bottom - 2 * EDGE
  const isUp = below < LEAST && top > below
  list.classList.toggle('is-up', isUp)
  list.style.maxHeight = `${Math.max(LEAST, isUp ? top - 2 * EDGE : below)}px`
}

/** Calls `close` when the pointer or the focus goes elsewhere. Returns how to stop. */
function closeOutside(element, close) {
  const onLeave = (event) => !element.contains(event.target) && close()
  return listen(document, { pointerdown: onLeave, focusin: onLeave })
}

function onClosedKey(event, open) {
  const at = { ArrowDown: FIRST, ArrowUp: LAST }[event.key]
  if (at === undefined) return
  open(at)
  event.preventDefault()
  event.stopPropagation()
}

function onKey(event, root, close) {
  const entries = [...root.querySelectorAll('[role=menuitem]')]
  const here = entries.indexOf(document.activeElement)
  const target = targetOf(event, entries, here)
  if (event.key === 'Escape') close()
  else if (event.key === 'Tab') return close(false)
  else if (target === undefined) return undefined
  else entries.at(target % entries.length).focus()
  event.preventDefault()
  return event.stopPropagation()
}

/** The place of the entry that a key leads to, or undefined. */
function targetOf({ key, ctrlKey, metaKey, altKey }, entries, here) {
  const moves = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: -1 }
  if (key in moves || key.length > 1 || key === ' ' || ctrlKey || metaKey || altKey) return moves[key]
  const places = entries.map((_, index) => (here + 1 + index) % entries.length)
  return places.find((place) => entries[place].textContent.trim().toLowerCase().startsWith(key.toLowerCase()))
}
