/** Menus that offer every format of a transcript: of one task, of several, of all. */
import { html } from 'htm/preact'
import { archiveUrl, downloadUrl } from '../api.js'
import { IDS_PER_ARCHIVE } from '../state/selection.js'
import { Menu } from './menu.js'

const FORMATS = ['txt', 'srt', 'vtt', 'tsv', 'json']

export function DownloadMenu({ task, label, text, kind }) {
  const entries = FORMATS.map((format) => ({
    text: format,
    href: downloadUrl(task.id, format),
    download: '', // the server names it
    testid: `download-${format}`,
  }))
  return html`<${Menu} icon="download" text=${text} label=${label} kind=${kind} entries=${entries} testid="download" />`
}

/** ids: empty for every completed task. */
export function ArchiveMenu({ ids, text, testid, kind }) {
  const entries = FORMATS.map((format) => ({
    text: format,
    hint: 'zip',
    onSelect: () => saveArchives(format, ids),
    testid: `zip-${format}`,
  }))
  return html`<${Menu} icon="download" text=${text} label=${text} kind=${kind} entries=${entries} testid=${testid} />`
}

/** An address holds a limited number of ids, so a large selection comes as several archives. */
function saveArchives(format, ids) {
  if (ids.length === 0) save(archiveUrl(format))
  for (let first = 0; first < ids.length; first += IDS_PER_ARCHIVE) {
    save(archiveUrl(format, ids.slice(first, first + IDS_PER_ARCHIVE)))
  }
}

function save(href) {
  const link = document.createElement('a')
  link.href = href
  link.download = ''
  link.click()
}
