/** What the list is narrowed to and in which order it stands, beside the status and the search. */

/** The usual order: what runs, the waiting line from its front, and what is finished, the latest first. */
export const LINE = 'line'

/** Texts as the filter's fields hold them; '' for whatever it is. Dates are days of the person's own time. */
export const NO_FILTER = {
  sort: LINE,
  order: '',
  from: '',
  to: '',
  min_minutes: '',
  max_minutes: '',
  model: '',
  owner: '',
  tag: '',
  batch: '',
}
const NARROWING = Object.keys(NO_FILTER).filter((name) => !['sort', 'order'].includes(name))

/** The names of what narrows the list. */
export const narrowedBy = (filter) => NARROWING.filter((name) => filter[name] !== '')

/** The query of GET /api/tasks, without the order. */
export function queryOf({ from, to, min_minutes, max_minutes, model, owner, tag, batch }) {
  return {
    from: from && dayBegins(from).toISOString(),
    to: to && dayEnds(to).toISOString(),
    min_seconds: min_minutes && Number(min_minutes) * 60,
    max_seconds: max_minutes && Number(max_minutes) * 60,
    model,
    owner,
    tag,
    batch,
  }
}

const dayBegins = (day) => new Date(`${day}T00:00:00`)

function dayEnds(day) {
  const end = dayBegins(day)
  end.setDate(end.getDate() + 1)
  return end
}

/** Whether a task that comes by itself belongs in a list that is narrowed so. */
export function passes(task, filter) {
  const { from, to, min_minutes, max_minutes, model, owner, tag, batch } = filter
  const created = Date.parse(task.created_at)
  const seconds = task.audio_seconds
  return (
    (!from || created >= dayBegins(from).getTime()) &&
    (!to || created < dayEnds(to).getTime()) &&
    (!min_minutes || (seconds != null && seconds >= min_minutes * 60)) &&
    (!max_minutes || (seconds != null && seconds <= max_minutes * 60)) &&
    (!model || task.options.model === model) &&
    (!owner || task.owner === owner) &&
    (!batch || task.batch?.id === batch) &&
    (!tag || (task.tags ?? []).some((one) => one.toLowerCase() === tag.toLowerCase()))
  )
}
