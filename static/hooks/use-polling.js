/** Reads something now and then again and again, as long as the page is visible. */
import { useEffect } from 'preact/hooks'
import { listen } from '../util/listen.js'

/** read: returns a promise that never rejects. It is called at once when `seconds` or one of `inputs` changes. */
export function usePolling(read, seconds, inputs = []) {
  useEffect(() => {
    let timer = null
    let turn = 0
    const poll = async () => {
      clearTimeout(timer)
      const mine = ++turn
      if (!document.hidden) await read()
      if (mine === turn) timer = setTimeout(poll, seconds * 1000)
    }
    const stopListening = listen(document, { visibilitychange: () => !document.hidden && poll() })
    poll()
    return () => {
      turn += 1
      clearTimeout(timer)
      stopListening()
    }
  }, [seconds, ...inputs])
}
