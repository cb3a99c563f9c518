/**
 * The page's keyboard shortcuts: what the handlers go by and what the sheet lists, so that neither can be out of date.
 *
 * While text is typed a shortcut needs a key held with it. On a Mac that is Control: Command belongs to the browser, and
 * with Option many layouts write letters (a Polish one its "ł"). Elsewhere it is Alt, which only the letters of menus use
 * in browsers (D, E, F, and B, H, S, T, V in Firefox); these are not among ours. No screen reader takes either with a
 * letter alone: VoiceOver wants Control and Option, the others Insert or Caps Lock.
 */

export const isMac = /mac|iphone|ipad/i.test(
  globalThis.navigator?.userAgentData?.platform ?? globalThis.navigator?.platform ?? '',
)

/**
 * group -> [name, keys...]. `Mod`: Control on a Mac, Alt elsewhere. `Command`: Command on a Mac, Control elsewhere.
 * A name stands for the text `shortcuts.<name>`.
 */
export const SHORTCUTS = {
  page: [
    ['sheet', '?'],
    ['close_text', 'Escape'],
    ['move', 'ArrowUp', 'ArrowDown'],
  ],
  queue: [
    ['rows', 'ArrowUp', 'ArrowDown'],
    ['ends', 'Home', 'End'],
    ['move_task', 'ArrowUp', 'ArrowDown'],
  ],
  search: [
    ['next_hit', 'Enter'],
    ['previous_hit', 'Shift+Enter'],
    ['clear_search', 'Escape'],
  ],
  playing: [
    ['play', 'Mod+K', 'Space'],
    ['back', 'Mod+J', 'Shift+ArrowLeft'],
    ['forward', 'Mod+L', 'Shift+ArrowRight'],
    ['step', 'ArrowLeft', 'ArrowRight'],
    ['leap', 'PageUp', 'PageDown'],
  ],
  editing: [
    ['edit', 'E', 'F2'],
    ['leave', 'Escape'],
    ['next_segment', 'PageDown'],
    ['previous_segment', 'PageUp'],
    ['doubtful', 'Mod+G'],
    ['split', 'Enter'],
    ['merge', 'Backspace'],
    ['insert', 'Mod+I'],
    ['delete', 'Mod+X'],
    ['speaker', 'Mod+W'],
    ['replace', 'Mod+R'],
    ['undo', 'Command+Z'],
    ['redo', 'Command+Shift+Z'],
  ],
}

/** The name of the shortcut with a held key that was pressed, or null. */
export function heldShortcut(event, onMac = isMac) {
  const letter = letterOf(event)
  if (letter === 'Z' && isHeld(event, onMac ? 'metaKey' : 'ctrlKey')) return event.shiftKey ? 'redo' : 'undo'
  if (event.shiftKey) return null
  if (letter === 'Y' && !onMac && isHeld(event, 'ctrlKey')) return 'redo'
  if (!isHeld(event, onMac ? 'ctrlKey' : 'altKey')) return null
  return BY_LETTER.get(letter) ?? null
}

const BY_LETTER = new Map(
  Object.values(SHORTCUTS)
    .flat()
    .flatMap(([name, ...keys]) =>
      keys.filter((key) => key.startsWith('Mod+')).map((key) => [key.slice('Mod+'.length), name]),
    ),
)

/** Only that one: the others together make the third level of a keyboard (AltGr), or belong to a screen reader. */
const isHeld = (event, name) =>
  ['ctrlKey', 'altKey', 'metaKey'].every((modifier) => event[modifier] === (modifier === name))

/** By what the layout writes; by the key's place where that is no Latin letter. */
function letterOf({ key, code }) {
  if (/^[a-z]$/i.test(key)) return key.toUpperCase()
  return /^Key([A-Z])$/.exec(code)?.[1] ?? null
}

/** Whether keys are being composed into characters, as for Chinese; then they are the input method's. */
export const isComposing = (event) => event.isComposing || event.keyCode === 229

/** Whether a letter that is pressed there is text. */
export const isTyping = (target) =>
  target.closest?.('input:not([type=checkbox], [type=radio], [type=range]), select, textarea, [contenteditable]') !==
  null

/** The keys as they are written on the keyboard: ['Alt', 'K']. */
export function keyNames(keys, onMac = isMac) {
  const names = onMac ? MAC_NAMES : OTHER_NAMES
  return keys.split('+').map((key) => names[key] ?? NAMES[key] ?? key)
}

const NAMES = {
  ArrowUp: '↑',
  ArrowDown: '↓',
  ArrowLeft: '←',
  ArrowRight: '→',
  Escape: 'Esc',
  PageUp: 'Page ↑',
  PageDown: 'Page ↓',
}
const MAC_NAMES = { Mod: '⌃', Command: '⌘', Shift: '⇧', Backspace: '⌫', Enter: '↩' }
const OTHER_NAMES = { Mod: 'Alt', Command: 'Ctrl', Backspace: 'Backspace' }
