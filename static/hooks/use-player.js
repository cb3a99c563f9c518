/** The state of a media element as signals, and what can be done to it. */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { listen } from '../util/listen.js'

/** How far the arrow keys move, the page keys of the slider, and the button that plays something again. */
export const STEP_S = 5
export const LEAP_S = 30
export const BACK_S = 2
/** How far outside a loop a browser may land when it goes to one of its ends. */
const LOOP_SLACK_S = 0.3

/**
 * position and duration: in seconds. position follows every frame while playing, so that the text keeps in step. loop: a
 * signal of {start, end}, which is played again and again, or null; a move to somewhere else ends it.
 */
export function usePlayer(id) {
  const media = useRef(null)
  const position = useSignal(0)
  const duration = useSignal(0)
  const isPlaying = useSignal(false)
  const loop = useSignal(null)
  useEffect(() => {
    const element = media.current
    if (!element) return undefined
    position.value = 0
    duration.value = 0
    loop.value = null
    return follow(element, { position, duration, isPlaying, loop })
  }, [id])

  const seek = (seconds, { andPlay = false } = {}) => {
    if (!media.current) return
    media.current.currentTime = Math.max(0, seconds)
    position.value = Math.max(0, seconds)
    if (andPlay) play(media.current)
  }
  const toggle = () => media.current && (media.current.paused ? play(media.current) : media.current.pause())
  const step = (seconds) => seek(Math.min(duration.value || Infinity, position.value + seconds))
  const back = () => step(-BACK_S)
  return { media, position, duration, isPlaying, loop, seek, toggle, step, back }
}

/** A browser may refuse to play: no permission, or no codec, which the element's own error event reports. */
function play(element) {
  element.play().catch((error) => {
    if (!['NotAllowedError', 'AbortError', 'NotSupportedError'].includes(error.name)) throw error
  })
}

/** Keeps the signals up to date with the element. Returns how to stop. */
function follow(element, { position, duration, isPlaying, loop }) {
  let frame = 0
  const read = () => {
    const { start, end = Infinity } = loop.peek() ?? {}
    if (element.currentTime >= end && !element.paused && !element.seeking) element.currentTime = start
    position.value = element.currentTime
  }
  const onFrame = () => {
    read()
    frame = element.paused ? 0 : requestAnimationFrame(onFrame)
  }
  const onSeeking = () => {
    if (loop.peek() && !isIn(loop.peek(), element.currentTime)) loop.value = null
  }
  const stopListening = listen(element, {
    timeupdate: read,
    seeking: onSeeking,
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

const isIn = ({ start, end }, seconds) => seconds >= start - LOOP_SLACK_S && seconds <= end + LOOP_SLACK_S
