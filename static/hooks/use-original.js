/** The transcript as it was transcribed, before anybody edited it, while it is shown. */
import { useEffect, useState } from 'preact/hooks'
import { fetchOriginal } from '../api.js'
import { isOriginalShown } from '../state/editing.js'
import { toastError } from '../state/toasts.js'

/** content with the original's segments, once they are there; else as it is. */
export function useOriginal(taskId, content) {
  const isShown = isOriginalShown.value
  const [original, setOriginal] = useState(null)
  useEffect(() => {
    if (!isShown || original?.id === taskId) return
    fetchOriginal(taskId).then(
      ({ segments, speakers }) => setOriginal({ id: taskId, segments, speakers: speakers ?? {} }),
      (error) => {
        isOriginalShown.value = false
        toastError(error)
      },
    )
  }, [isShown, taskId])
  if (!isShown || original?.id !== taskId) return content
  return { ...content, segments: original.segments, speakers: original.speakers }
}
