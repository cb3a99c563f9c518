/** Calls `update` at most once a frame while anything scrolls or changes its size. Returns how to stop. */
export function eachFrameOfScrolling(update) {
  let frame = 0
  const later = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0
      update()
    })
  }
  const sizes = new ResizeObserver(later) // What stands above the list moves it without any scrolling.
  sizes.observe(document.body)
  addEventListener('scroll', later, { passive: true, capture: true })
  addEventListener('resize', later)
  return () => {
    cancelAnimationFrame(frame)
    sizes.disconnect()
    removeEventListener('scroll', later, { capture: true })
    removeEventListener('resize', later)
  }
}
