/**
 * The field in which the text of a segment is edited.
 *
 * It is a textarea, made for the one segment that is edited, and not an element with contenteditable. Preact draws the
 * children of an element, and drawing text that an input method is composing ends the composing and moves the caret; the
 * value of a field is not among its children, and it is set here only when it is another text. Screen readers announce a
 * field with its label and read in it as in any other, and `plaintext-only` is new in Firefox.
 */
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { mergeBy, splitAt } from '../state/edit-commands.js'
import { isComposing } from '../util/shortcuts.js'

/** caret: of `place`, a new object whenever the caret is to be moved. onGo: called with 1 or -1 at the text's edge. */
export function useSegmentField({ editor, segment, text, place, onGo }) {
  const ref = useRef(null)
  const composing = useRef(false)
  useLayoutEffect(() => {
    if (!composing.current) show(ref.current, text)
  }, [text])
  useLayoutEffect(() => putCaret(ref.current, place.caret), [place])
  useEffect(() => () => editor.commit(), [])

  const onInput = ({ target }) => {
    if (composing.current) return
    flatten(target)
    grow(target)
    editor.type(segment.id, target.value)
  }
  return {
    ref,
    onInput,
    onBlur: () => editor.commit(),
    // In small letters, because Preact knows only those events by another name that elements have as properties.
    oncompositionstart: () => (composing.current = true),
    oncompositionend: (event) => {
      composing.current = false
      onInput(event)
    },
    onbeforeinput: (event) => onBeforeInput(event, editor),
    onKeyDown: (event) => onKey(event, editor, onGo),
  }
}

/** Keeps the caret where it is, as far as the new text has room. Blanks at the edges that were just typed are kept. */
function show(field, text) {
  if (field.value.trim() !== text.trim()) {
    const { selectionStart, selectionEnd } = field
    field.value = text
    if (document.activeElement === field) field.setSelectionRange(selectionStart, selectionEnd)
  }
  grow(field)
}

/** The element around it is as high as the same text, which it holds for the style sheet. */
const grow = (field) => (field.parentElement.dataset.text = field.value)

function putCaret(field, caret) {
  field.focus({ preventScroll: true })
  field.setSelectionRange(...(Array.isArray(caret) ? caret : [caret, caret]))
  field.closest('.segment').scrollIntoView({ block: 'nearest' })
}

/** A segment is one line, whatever was pasted. */
function flatten(field) {
  if (!/[\r\n]/.test(field.value)) return
  const behind = field.value.length - field.selectionEnd
  field.value = field.value.replace(/\s*[\r\n]+\s*/g, ' ')
  field.setSelectionRange(field.value.length - behind, field.value.length - behind)
}

/** The Enter key, also that of a phone, whose keys are not told to the page. One that ends composing is not meant. */
function onBeforeInput(event, editor) {
  if (!['insertLineBreak', 'insertParagraph'].includes(event.inputType) || event.isComposing) return
  event.preventDefault()
  splitAt(editor, event.target.value, event.target.selectionStart)
}

function onKey(event, editor, onGo) {
  if (isComposing(event) || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return
  const { value, selectionStart, selectionEnd, readOnly } = event.target
  const isAtStart = selectionEnd === 0
  const isAtEnd = selectionStart === value.length
  const actions = {
    Backspace: () => isAtStart && !readOnly && mergeBy(editor, -1),
    Delete: () => isAtEnd && !readOnly && mergeBy(editor, 1),
    PageUp: () => onGo(-1),
    PageDown: () => onGo(1),
    ArrowLeft: () => isAtStart && onGo(-1),
    ArrowRight: () => isAtEnd && onGo(1),
    ArrowUp: () => goIfUnmoved(event.target, () => onGo(-1)),
    ArrowDown: () => goIfUnmoved(event.target, () => onGo(1)),
  }
  if (actions[event.key]?.()) event.preventDefault()
}

/** Where lines end in a field only the browser knows: at the first or last one the key does not move the caret. */
function goIfUnmoved(field, go) {
  const before = field.selectionStart
  setTimeout(() => {
    if (field.isConnected && field.selectionStart === before && field.selectionEnd === before) go()
  })
  return false
}
