/** The files that were dropped together, summed up in one line. */

/**
 * batch: {count, bytes, arrived, arrivedBytes} of the files that the person has not taken back. states: [{size, phase,
 * progress}] of those that are still on the page. share: 0 to 1, of the bytes that are to be sent.
 */
export function totalsOf({ count, bytes, arrived, arrivedBytes }, states) {
  const inPhase = (name) => states.filter(({ phase }) => phase === name)
  const atRest = [...inPhase('refused'), ...inPhase('known')]
  const wanted = bytes - sum(atRest.map(({ size }) => size))
  const moving = states.filter((state) => !atRest.includes(state))
  const sent = arrivedBytes + sum(moving.map(({ size, progress }) => size * progress))
  return {
    count,
    arrived,
    active: moving.length,
    refused: inPhase('refused').length,
    known: inPhase('known').length,
    sentBytes: sent,
    wantedBytes: wanted,
    share: wanted > 0 ? Math.min(1, sent / wanted) : moving.length ? 0 : 1,
  }
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0)

/** How a drop is called: by its first file and how many more there are, in no language. */
export const batchName = (names) => (names.length > 1 ? `${names[0]} + ${names.length - 1}` : names[0])
