/** Does something whenever an element is in view, or nearly. */
import { useEffect, useRef } from 'preact/hooks'
import { eachFrameOfScrolling } from '../util/each-frame.js'

const NEAR_PX = 800

/** Returns the ref for the element. action: called again and again while the element is near, so it must be idempotent. */
export function useNearView(action) {
  const element = useRef(null)
  useEffect(() => {
    const look = () => {
      if (element.current === null) return // A frame that was asked for before the element was taken away.
      const { top, width } = element.current.getBoundingClientRect()
      if (width > 0 && top < innerHeight + NEAR_PX) action()
    }
    look()
    return eachFrameOfScrolling(look)
  })
  return element
}
