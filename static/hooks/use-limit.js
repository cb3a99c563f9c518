/** One of the system's limits and how to change it. */
import { useRef, useState } from 'preact/hooks'
import { setLimits } from '../api.js'
import { applySystem } from '../state/store.js'

/**
 * value: the limit as the server last reported it. Returns {shown, change(wanted), error}: `shown` is the wanted value
 * while a request is under way. Requests go out one at a time; of the values wanted meanwhile only the newest is sent.
 */
export function useLimit(name, value) {
  const [wish, setWish] = useState(null)
  const [error, setError] = useState(null)
  const queue = useRef({ isSending: false, next: null })
  const shown = wish ?? value

  const send = async (wanted) => {
    const { current } = queue
    current.next = wanted
    if (current.isSending) return
    current.isSending = true
    setError(null)
    while (current.next !== null) {
      const sent = current.next
      current.next = null
      try {
        applySystem(await setLimits({ [name]: sent }))
      } catch (fault) {
        if (fault.name !== 'ApiError') throw fault
        setError(fault)
      }
    }
    current.isSending = false
    setWish(null)
  }
  const change = (wanted) => {
    if (wanted === shown) return
    setWish(wanted)
    send(wanted)
  }
  return { shown, change, error }
}
