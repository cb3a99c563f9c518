/** The state of a media element as signals, and what can be done to it. */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { listen } from '../util/listen.js'

export const STEP_S = 5

/** position and duration: in seconds. position follows every frame while playing, so that the text keeps in step. */
export function usePlayer(id) {
  const media = useRef(null)
  const position = useSignal(0)
  const duration = useSignal(0)
  const isPlaying = useSignal(false)
  useEffect(() => {
    const element = media.current
    if (!element) return undefined
    position.value = 0
    duration.value = 0
    return follow(element, { position, duration, isPlaying })
  }, [id])

  const seek = (seconds, { andPlay = false } = {}) => {
    if (!media.current) return
    media.current.currentTime = Math.max(0, seconds)
    position.value = Math.max(0, seconds)
    if (andPlay) play(media.current)
  }
  const toggle = () => media.current && (media.current.paused ? play(media.current) : media.current.pause())
  const step = (seconds) => seek(Math.min(duration.value || Infinity, position.value + seconds))
  return { media, position, duration, isPlaying, seek, toggle, step }
}

/** A browser may refuse to play: no permission, or no codec, which the element's own error event reports. */
function play(element) {
  element.play().catch((error) => {
    if (!['NotAllowedError', 'AbortError', 'NotSupportedError'].includes(error.name)) throw error
  })
}

/** Keeps the signals up to date with the element. Returns how to stop. */
function follow(element, { position, duration, isPlaying }) {
  let frame = 0
  const read = () => (position.value = element.currentTime)
  const onFrame = () => {
    read()
    frame = element.paused ? 0 : requestAnimationFrame(onFrame)
  }
  const stopListening = listen(element, {
    timeupdate: read,
    seeked: read,
    durationchange: () => (duration.value = Number.isFinite(element.duration) ? element.duration : 0),
    play: () => {
      isPlaying.value = true
      if (!frame) onFrame()
    },
    pause: () => (isPlaying.value = false),
    ended: () => (isPlaying.value = false),
  })
  return () => {
    cancelAnimationFrame(frame)
    element.pause()
    stopListening()
  }
}
