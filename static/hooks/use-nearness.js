/** Which rows of a long list are in view or close to it; only these are worth drawing in detail. */
import { useEffect, useMemo } from 'preact/hooks'

const MARGIN = '600px 0px'

/** A function `watch(element, isNear)` that sets the signal isNear once the element has come near. */
export function useNearness() {
  const nearness = useMemo(makeNearness, [])
  useEffect(() => nearness.stop, [])
  return nearness.watch
}

function makeNearness() {
  const signals = new WeakMap()
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue
        observer.unobserve(target)
        signals.get(target).value = true
      }
    },
    { rootMargin: MARGIN, scrollMargin: MARGIN },
  )
  const watch = (element, isNear) => {
    signals.set(element, isNear)
    observer.observe(element)
  }
  return { watch, stop: () => observer.disconnect() }
}
