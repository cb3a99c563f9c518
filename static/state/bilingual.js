/** The other half of a bilingual file: a recording's translation for its text, or the other way round. */
import { listTasks } from '../api.js'
import { TRANSCRIBE } from './upload-options.js'

/** The formats in which both texts are offered in one file. */
export const BILINGUAL = ['srt', 'vtt', 'ass', 'docx', 'md']

/** The newest task that goes with this one, or null. Rejects with an ApiError. */
export async function findOtherHalf(task) {
  const { tasks } = await listTasks({ same_recording_as: task.id, status: 'completed', limit: 50 })
  return otherHalf(task, tasks)
}

/** tasks: of the same recording, newest first. */
export function otherHalf(task, tasks) {
  const track = trackOf(task)
  const goesWith = (other) =>
    other.options.task !== task.options.task && (trackOf(other) ?? track) === (track ?? trackOf(other))
  return tasks.find(goesWith) ?? null
}

export const originalOf = (task, other) => (task.options.task === TRANSCRIBE ? task : other)

/** The number of the sound track that was transcribed, if that is known. */
const trackOf = ({ tracks }) => tracks?.find((track) => track.chosen)?.index
