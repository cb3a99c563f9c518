/** Puts text into the clipboard. Throws when the browser does not allow it. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  copyBySelection(text)
  return undefined
}

/** navigator.clipboard exists only on https and localhost; elsewhere the deprecated command still works. */
function copyBySelection(text) {
  const area = document.createElement('textarea')
  area.value = text
  document.body.append(area)
  area.select()
  const isDone = document.execCommand('copy')
  area.remove()
  if (!isDone) throw new Error('copying is not allowed')
}
