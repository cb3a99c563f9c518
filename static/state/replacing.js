/** Find and replace over transcripts. Those that are open are replaced in by their editors, so that it can be undone there. */
import { fetchEdited, sendEdits } from '../api.js'
import { countMatches } from './edit-fold.js'
import { applyTranscriptEdited, openEditor } from './editing.js'

/** So many transcripts are read at once. */
const AT_ONCE = 4

/** id -> the transcript as it was last read, for the next letter of the same search. */
const read = new Map()

export const forgetRead = () => read.clear()

/** {count, ids}: how often it is found, and in which transcripts. signal: an AbortSignal. */
export async function countIn(ids, options, signal) {
  const counts = await forEach(ids, signal, async (id) => {
    const { segments } = openEditor(id)?.content.peek() ?? (await readOnce(id))
    return countMatches(segments, options)
  })
  return { count: counts.reduce((sum, count) => sum + count, 0), ids: ids.filter((_, at) => counts[at] > 0) }
}

async function readOnce(id) {
  if (!read.has(id)) read.set(id, await fetchEdited(id))
  return read.get(id)
}

/** Resolves to the number of transcripts that were changed. */
export async function replaceIn(ids, { find, replace, case: isCaseKept, whole_words }) {
  const edit = { kind: 'replace', find, replace, case: isCaseKept, whole_words }
  await forEach(ids, undefined, async (id) => {
    const editor = openEditor(id)
    if (editor) editor.edit([edit])
    else await replaceUnopened(id, edit)
  })
  return ids.length
}

/** Others may have edited it since it was searched; replacing goes with whatever they did. */
async function replaceUnopened(id, edit) {
  const { version = 0 } = await fetchEdited(id)
  const answer = await sendEdits(id, version, [edit])
  read.delete(id)
  applyTranscriptEdited({ id, version: answer.version })
}

async function forEach(ids, signal, action) {
  const results = new Array(ids.length)
  const left = ids.map((id, at) => [id, at])
  const work = async () => {
    for (let next = left.shift(); next && !signal?.aborted; next = left.shift())
      results[next[1]] = await action(next[0])
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return results
}
