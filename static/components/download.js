/** Menus that offer every format of a transcript: of one task, of several, of all. */
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { archiveUrl, downloadUrl } from '../api.js'
import { BILINGUAL, findOtherHalf, originalOf } from '../state/bilingual.js'
import { IDS_PER_ARCHIVE } from '../state/selection.js'
import { cueFields, effective, endingOf, FORMATS, needsWords, subtitleOptions } from '../state/subtitle-options.js'
import { t } from '../text/i18n.js'
import { subtitlesText } from '../text/subtitles-text.js'
import { Menu } from './menu.js'
import { openSubtitleOptions } from './subtitle-dialog.js'

/** isOriginal: offers what was transcribed, without what people have edited. */
export function DownloadMenu({ task, label, text, kind, isOriginal = false }) {
  const [other, setOther] = useState(null)
  const look = () => findOtherHalf(task).then(setOther, () => setOther(null)) // All else can be had without it.
  const hasWords = task.options.word_timestamps
  const groups = groupsOf(
    (format) => ({
      href: downloadUrl(task.id, format, { ...cueFields(format, hasWords), version: isOriginal && 'original' }),
      testid: `download-${format}`,
    }),
    needsWords.value && !hasWords && t('subtitles.no_words'),
  )
  if (other && !isOriginal) groups.push(bilingualGroup(task, other))
  return html`<${Menu} icon="download" text=${text} label=${label} kind=${kind} groups=${groups} testid="download" onOpen=${look} />`
}

function bilingualGroup(task, other) {
  const hasWords = originalOf(task, other).options.word_timestamps
  const entries = BILINGUAL.map((format) => ({
    text: endingOf(format),
    hint: t(`format.${format}`),
    href: downloadUrl(task.id, format, { ...cueFields(format, hasWords), bilingual: other.id }),
    testid: `bilingual-${format}`,
  }))
  return { title: t('download.bilingual'), entries }
}

/** ids: empty for every completed task. */
export function ArchiveMenu({ ids, text, testid, kind }) {
  const groups = groupsOf((format) => ({ onSelect: () => saveArchives(format, ids), testid: `zip-${format}` }))
  return html`<${Menu} icon="download" text=${text} label=${text} kind=${kind} groups=${groups} testid=${testid} />`
}

/** actionOf: what the entry of a format does. note: what is to be said of subtitles. */
function groupsOf(actionOf, note) {
  return FORMATS.map(([kind, formats]) => {
    const entries = formats.map((format) => ({
      text: endingOf(format),
      hint: t(`format.${format}`),
      ...actionOf(format),
    }))
    const isCut = kind === 'subtitles'
    return {
      title: t(`download.${kind}`),
      entries: isCut ? [...entries, cutting()] : entries,
      note: isCut && note,
    }
  })
}

const cutting = () => ({
  text: t('subtitles.open'),
  hint: subtitlesText(effective(subtitleOptions.value)),
  onSelect: openSubtitleOptions,
  testid: 'subtitle-options',
})

/** An address holds a limited number of ids, so a large selection comes as several archives. */
function saveArchives(format, ids) {
  const cues = cueFields(format, true) // The server leaves out what a text has no words for.
  if (ids.length === 0) save(archiveUrl(format, ids, cues))
  for (let first = 0; first < ids.length; first += IDS_PER_ARCHIVE) {
    save(archiveUrl(format, ids.slice(first, first + IDS_PER_ARCHIVE), cues))
  }
}

function save(href) {
  const link = document.createElement('a')
  link.href = href
  link.download = ''
  link.click()
}
