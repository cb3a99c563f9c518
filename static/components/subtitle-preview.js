/** The first subtitles of the open text, cut as the person is about to have them. */
import { html } from 'htm/preact'
import { useEffect, useState } from 'preact/hooks'
import { fetchSubtitles } from '../api.js'
import { taskOf } from '../state/store.js'
import { cueFields } from '../state/subtitle-options.js'
import { isCompleted } from '../state/task.js'
import { t } from '../text/i18n.js'
import { openId } from '../util/address.js'
import { firstCues } from '../util/vtt.js'

const TYPING_PAUSE_MS = 150
const SHOWN = 2

/** options: the wishes so far. */
export function SubtitlePreview({ options }) {
  const task = openId.value && taskOf(openId.value)?.value
  const [cues, setCues] = useState([])
  const isOffered = Boolean(task) && isCompleted(task)
  const fields = isOffered ? cueFields('vtt', task.options.word_timestamps, options) : {}
  useEffect(() => {
    if (!isOffered) return undefined
    let isOver = false
    const timer = setTimeout(async () => {
      const text = await fetchSubtitles(task.id, fields).catch(() => null) // What was typed is not yet a number.
      if (text !== null && !isOver) setCues(firstCues(text, SHOWN))
    }, TYPING_PAUSE_MS)
    return () => {
      isOver = true
      clearTimeout(timer)
    }
  }, [isOffered, JSON.stringify(fields)])
  if (cues.length === 0) return null
  return html`<div class="cue-preview" role="img" aria-label=${t('subtitles.preview')} data-testid="cue-preview">
    ${cues.map((cue) => html`<p dir="auto">${cue}</p>`)}
  </div>`
}
