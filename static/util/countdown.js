/** Times that the server reported some while ago, counted down to now. */

/** now and receivedAt: milliseconds. Never negative, even when the machine's clock is set back. */
export const secondsSince = (receivedAt, now) => Math.max(0, (now - receivedAt) / 1000)

/** What is left of `seconds`, at least one: "done in 0 s" would be a promise that is not kept. */
export const secondsLeft = (seconds, receivedAt, now) => Math.max(1, seconds - secondsSince(receivedAt, now))
