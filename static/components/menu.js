/** A button that opens a short list of links or actions. Arrow keys move, Escape or a click elsewhere closes. */
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { listen } from '../util/listen.js'
import { Icon } from './icons.js'

/** entries: [{text, href?, download?, onSelect?, testid?}]. label: what a screen reader calls the button. */
export function Menu({ icon, text, label, entries, testid, kind = 'quiet' }) {
  const [isOpen, setOpen] = useState(false)
  const root = useRef(null)
  useEffect(() => (isOpen ? closeOutside(root.current, () => setOpen(false)) : undefined), [isOpen])
  useEffect(() => {
    if (isOpen) root.current.querySelector('[role=menuitem]')?.focus()
  }, [isOpen])

  const close = (isFocusKept = true) => {
    setOpen(false)
    if (isFocusKept) root.current.querySelector('.menu-button').focus()
  }
  return html`<div class="menu" ref=${root} onKeyDown=${(event) => isOpen && onKey(event, root.current, close)}>
    <button type="button" class="menu-button ${kind}" aria-haspopup="menu" aria-expanded=${isOpen} aria-label=${label}
      title=${text ? undefined : label} data-testid=${testid} onClick=${() => setOpen(!isOpen)}>
      ${icon && html`<${Icon} name=${icon} />`}${text && html`<span>${text}</span>`}<${Icon} name="chevron" />
    </button>
    ${
      isOpen &&
      html`<ul class="menu-list" role="menu" aria-label=${label ?? text}>
      ${entries.map((entry) => html`<li role="none"><${Entry} ...${entry} onDone=${close} /></li>`)}
    </ul>`
    }
  </div>`
}

function Entry({ text, hint, href, download, onSelect, testid, onDone }) {
  const choose = () => {
    onSelect?.()
    onDone()
  }
  const content = html`<span>${text}</span>${hint && html`<small>${hint}</small>`}`
  if (href)
    return html`<a role="menuitem" tabindex="-1" href=${href} download=${download ?? ''} data-testid=${testid} onClick=${choose}>${content}</a>`
  return html`<button type="button" role="menuitem" tabindex="-1" data-testid=${testid} onClick=${choose}>${content}</button>`
}

/** Calls `close` when the pointer or the focus goes elsewhere. Returns how to stop. */
function closeOutside(element, close) {
  const onLeave = (event) => !element.contains(event.target) && close()
  return listen(document, { pointerdown: onLeave, focusin: onLeave })
}

function onKey(event, root, close) {
  const entries = [...root.querySelectorAll('[role=menuitem]')]
  const here = entries.indexOf(document.activeElement)
  const target = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: -1 }[event.key]
  if (event.key === 'Escape') close()
  else if (event.key === 'Tab') return close(false)
  else if (target === undefined) return undefined
  else entries.at(target % entries.length).focus()
  event.preventDefault()
  return event.stopPropagation()
}
