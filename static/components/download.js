/** Menus that offer every format: of one task, of a selection, of everything. */
import { html } from 'htm/preact'
import { archiveUrl, downloadUrl } from '../api.js'
import { IDS_PER_ARCHIVE } from '../state/selection.js'
import { Menu } from './menu.js'

export const FORMATS = ['txt', 'srt', 'vtt', 'tsv', 'json']

export function DownloadMenu({ task, label, text, kind }) {
  const entries = FORMATS.map((format) => ({
    text: format,
    href: downloadUrl(task.id, format),
    download: `${stemOf(task.filename)}.${endingOf(task, format)}`,
    testid: `download-${format}`,
  }))
  return html`<${Menu} icon="download" text=${text} label=${label} kind=${kind} entries=${entries} testid="download" />`
}

/** ids: empty for every finished task. */
export function ArchiveMenu({ ids, text, testid, kind }) {
  const entries = FORMATS.map((format) => ({
    text: format,
    hint: 'zip',
    onSelect: () => saveArchives(format, ids),
    testid: `zip-${format}`,
  }))
  return html`<${Menu} icon="download" text=${text} label=${text} kind=${kind} entries=${entries} testid=${testid} />`
}

/** More tasks than one address can name come as several archives. */
function saveArchives(format, ids) {
  if (ids.length === 0) return save(archiveUrl(format))
  for (let first = 0; first < ids.length; first += IDS_PER_ARCHIVE)
    save(archiveUrl(format, ids.slice(first, first + IDS_PER_ARCHIVE)))
  return undefined
}

function save(href) {
  const link = document.createElement('a')
  link.href = href
  link.download = ''
  link.click()
}

/** As the server names the file: a text that is not openai-whisper's own says so. */
const endingOf = (task, format) => (task.options.mode === 'exact' ? format : `${task.options.mode}.${format}`)

const stemOf = (filename) => filename.replace(/\.[^.]{1,8}$/, '') || filename
