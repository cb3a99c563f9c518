/** The translation of the open text, or the original of an open translation, where somebody has made both. */
import { useEffect, useMemo, useState } from 'preact/hooks'
import { alignedTo, showsBeside } from '../state/beside.js'
import { findOtherHalf } from '../state/bilingual.js'
import { isCompleted } from '../state/task.js'
import { loadTranscript, transcriptOf } from '../state/transcripts.js'

const NONE = []

/** {other, texts}: the other task or null, and segment id -> its text, or null while it is not shown. */
export function useBeside(task, segments) {
  const [other, setOther] = useState(null)
  const isDone = isCompleted(task)
  useEffect(() => {
    if (!isDone) return undefined
    let isOver = false
    findOtherHalf(task).then(
      (found) => !isOver && setOther(found),
      () => undefined, // All else can be read without it.
    )
    return () => {
      isOver = true
    }
  }, [task.id, isDone])

  const isShown = other !== null && showsBeside.value
  useEffect(() => {
    if (isShown) loadTranscript(other.id)
  }, [isShown, other?.id])
  const others = isShown ? transcriptOf(other.id).value.segments : NONE
  const texts = useMemo(() => (isShown ? alignedTo(segments, others) : null), [isShown, segments, others])
  return { other, texts }
}
