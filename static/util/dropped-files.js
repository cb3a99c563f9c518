/** The files of a drop: those let go on the page, and those inside dropped folders. */

/** dataTransfer must be read while the event is handled, so the entries are taken before the first await. */
export async function filesOf(dataTransfer) {
  const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean)
  if (!entries.some((entry) => entry.isDirectory)) return [...dataTransfer.files]
  return (await Promise.all(entries.map(filesBelow))).flat()
}

async function filesBelow(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))]
  const reader = entry.createReader()
  const files = []
  // A reader gives its entries in portions and an empty one at the end.
  for (let portion = await read(reader); portion.length; portion = await read(reader)) {
    files.push(...(await Promise.all(portion.filter((inner) => !inner.name.startsWith('.')).map(filesBelow))).flat())
  }
  return files
}

const read = (reader) => new Promise((resolve, reject) => reader.readEntries(resolve, reject))

export const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files')
