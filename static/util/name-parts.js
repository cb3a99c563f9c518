/** Where a long name may be cut when it has to fit into a line. */

const ENDING = 16
const SHORT = 20
/** Scripts that run from right to left; two pieces of these would change places. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/

/** [start, ending]; the ending is empty for a name that is not cut. */
export function nameParts(name) {
  const letters = Array.from(name)
  if (letters.length <= SHORT || RIGHT_TO_LEFT.test(name)) return [name, '']
  return [letters.slice(0, -ENDING).join(''), letters.slice(-ENDING).join('')]
}
