/** Whether a recording can be played, and why not; one that could not be reached is tried again. */
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { whyNoMedia } from '../api.js'
import { connection } from '../state/live-feed.js'
import { listen } from '../util/listen.js'

const RETRY_MS = 5000

/**
 * {kind, onMetadata, onError}. kind: a signal of 'unknown', 'audio', 'video', or, when nothing can be played,
 * 'unplayable' (no codec), 'gone' (no file on the server) or 'unreachable' (no answer; it is tried again).
 */
export function useMediaState(id, player) {
  const kind = useSignal('unknown')
  const isConnected = connection.value === 'connected'
  const isUnreachable = kind.value === 'unreachable'
  const retry = () => {
    if (kind.peek() !== 'unreachable') return
    const seconds = player.position.peek()
    player.media.current?.load()
    if (seconds > 0) player.seek(seconds)
  }
  useEffect(() => {
    if (!isUnreachable) return undefined
    const timer = setInterval(retry, RETRY_MS)
    const stopListening = listen(globalThis, { online: retry })
    return () => {
      clearInterval(timer)
      stopListening()
    }
  }, [isUnreachable])
  useEffect(retry, [isConnected])
  const onMetadata = (event) => (kind.value = event.target.videoWidth > 0 ? 'video' : 'audio')
  const onError = async () => (kind.value = await whyNoMedia(id))
  return { kind, onMetadata, onError }
}
