/** Reads something now and then again and again, as long as the page is seen. */
import { useEffect } from 'preact/hooks'

/** read: returns a promise that does not reject. It is called anew when `seconds` or anything in `inputs` changes. */
export function usePolling(read, seconds, inputs = []) {
  useEffect(() => {
    let timer = null
    let turn = 0
    const go = async () => {
      clearTimeout(timer)
      const mine = ++turn
      if (!document.hidden) await read()
      if (mine === turn) timer = setTimeout(go, seconds * 1000)
    }
    const onVisible = () => !document.hidden && go()
    document.addEventListener('visibilitychange', onVisible)
    go()
    return () => {
      turn += 1
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', onVisible)
    }
  }, [seconds, ...inputs])
}
