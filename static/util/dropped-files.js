/** The files of a drop, with those inside dropped folders. */

/** dataTransfer is emptied once the event has been handled, so its entries are read before the first await. */
export async function filesOf(dataTransfer) {
  const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean)
  if (!entries.some((entry) => entry.isDirectory)) return [...dataTransfer.files]
  return (await Promise.all(entries.map(filesBelow))).flat()
}

async function filesBelow(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))]
  const reader = entry.createReader()
  const files = []
  // A reader returns its entries in batches, and an empty batch at the end.
  for (let batch = await read(reader); batch.length; batch = await read(reader)) {
    files.push(...(await Promise.all(batch.filter((inner) => !inner.name.startsWith('.')).map(filesBelow))).flat())
  }
  return files
}

const read = (reader) => new Promise((resolve, reject) => reader.readEntries(resolve, reject))

export const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files')
