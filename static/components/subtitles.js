/** The subtitles of a video, cut as the person has it: a track that the browser shows over the picture. */
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { subtitlesUrl } from '../api.js'
import { showsSubtitles } from '../state/playback.js'
import { cueFields, shownOptions } from '../state/subtitle-options.js'

export function Subtitles({ task, content }) {
  const track = useRef(null)
  const mode = showsSubtitles.value ? 'showing' : 'hidden'
  const url =
    content.isFinal && subtitlesUrl(task.id, cueFields('vtt', task.options.word_timestamps, shownOptions.value))
  // A track does not load again by itself when the text behind its address has changed.
  const key = `${url} ${content.version ?? 0}`
  useEffect(() => {
    if (track.current) track.current.track.mode = mode
  }, [mode, key])
  if (!url) return null
  return html`<track key=${key} ref=${track} kind="subtitles" default src=${url} srclang=${content.language ?? undefined} data-testid="track" />`
}
