/** The state of a media element as signals, and the few things that one does to it. */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'

export const STEP_S = 5

/** position and duration in seconds. `position` follows every frame while playing, so that words light up in time. */
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

/** A browser may refuse to play (no codec, no permission); the element's own error event says so. */
function play(element) {
  element.play().catch((error) => {
    if (!['NotAllowedError', 'AbortError', 'NotSupportedError'].includes(error.name)) throw error
  })
}

function follow(element, { position, duration, isPlaying }) {
  let frame = 0
  const read = () => (position.value = element.currentTime)
  const eachFrame = () => {
    read()
    frame = element.paused ? 0 : requestAnimationFrame(eachFrame)
  }
  const listeners = {
    timeupdate: read,
    seeked: read,
    durationchange: () => (duration.value = Number.isFinite(element.duration) ? element.duration : 0),
    play: () => {
      isPlaying.value = true
      if (!frame) eachFrame()
    },
    pause: () => (isPlaying.value = false),
    ended: () => (isPlaying.value = false),
  }
  for (const [name, listener] of Object.entries(listeners)) element.addEventListener(name, listener)
  return () => {
    cancelAnimationFrame(frame)
    element.pause()
    for (const [name, listener] of Object.entries(listeners)) element.removeEventListener(name, listener)
  }
}
