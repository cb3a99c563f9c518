/** Adds event listeners {type: listener} to a target. Returns a function that removes them. */
export function listen(target, listeners, options) {
  for (const [type, listener] of Object.entries(listeners)) target.addEventListener(type, listener, options)
  return () => {
    for (const [type, listener] of Object.entries(listeners)) target.removeEventListener(type, listener, options)
  }
}
