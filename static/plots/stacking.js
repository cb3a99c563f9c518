/** Columns of figures for the plots: null is a moment without a figure, where the line breaks. */

/** Each column on top of the ones before it. A moment that any of them knows counts the others as 0. */
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
 * The samples with an empty one in each long silence (the server did not run), so that no line leads across it.
 * A silence is long when it lasts three times as long as the sample after it speaks for.
 */
export function withGaps(samples) {
  const whole = []
  for (const sample of samples) {
    const before = whole.at(-1)
    if (before && sample.at - before.at > 3 * sample.span_seconds)
      whole.push({ at: before.at + sample.span_seconds, isGap: true })
    whole.push(sample)
  }
  return whole
}

/** One figure of each sample; read: sample -> number or null. */
export const column = (samples, read) => samples.map((sample) => (sample.isGap ? null : read(sample)))

/** The least, the largest and the last figure of a column, or null when there is none. */
export function extremes(values) {
  const known = values.filter((value) => value !== null)
  if (known.length === 0) return null
  return { least: Math.min(...known), most: Math.max(...known), last: known.at(-1) }
}

/** The indices of figures that stand alone between two moments without one: no line leads there. */
export function lonely(values) {
  const isKnown = (index) => values[index] !== null && values[index] !== undefined
  return values.flatMap((_value, index) =>
    isKnown(index) && !isKnown(index - 1) && !isKnown(index + 1) ? [index] : [],
  )
}
