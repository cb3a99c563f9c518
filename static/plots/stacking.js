/** Columns of figures for the plots. Null stands for a moment without a figure, where the line breaks. */

/** Adds to each column the ones before it. Where at least one column has a figure, missing ones count as 0. */
export function stacked(columns) {
  const length = columns[0]?.length ?? 0
  const heights = new Array(length).fill(0)
  return columns.map((column) =>
    column.map((value, index) => {
      heights[index] += value ?? 0
      return columns.every((other) => other[index] === null) ? null : heights[index]
    }),
  )
}

/**
 * The samples, with an empty one in each long pause (the server was not running), so that no line is drawn across it.
 * A pause is long when it exceeds three times the span of the sample after it.
 */
export function withGaps(samples) {
  const filled = []
  for (const sample of samples) {
    const before = filled.at(-1)
    if (before && sample.at - before.at > 3 * sample.span_seconds)
      filled.push({ at: before.at + sample.span_seconds, isGap: true })
    filled.push(sample)
  }
  return filled
}

/** One figure of each sample. read: sample -> number or null. */
export const column = (samples, read) => samples.map((sample) => (sample.isGap ? null : read(sample)))

/** {least, most, last} of the figures in a column, or null when it has none. */
export function extremes(values) {
  const known = values.filter((value) => value !== null)
  if (known.length === 0) return null
  return { least: Math.min(...known), most: Math.max(...known), last: known.at(-1) }
}

/** The indices of figures without a neighbour: no line reaches them, so they are drawn as points. */
export function isolated(values) {
  const isKnown = (index) => values[index] !== null && values[index] !== undefined
  return values.flatMap((_value, index) =>
    isKnown(index) && !isKnown(index - 1) && !isKnown(index + 1) ? [index] : [],
  )
}
