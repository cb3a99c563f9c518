/** Times as they are written into a field: 1:02.5 and 1:03:02.25, or plain seconds. */

/** 62.5 -> 1:02.50. */
export function preciseClock(seconds) {
  const hundredths = Math.round(Math.max(0, seconds) * 100)
  const [hours, minutes] = [Math.floor(hundredths / 360_000), Math.floor(hundredths / 6000) % 60]
  const rest = ((hundredths % 6000) / 100).toFixed(2).padStart(5, '0')
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}` : `${minutes}:${rest}`
}

/** Seconds, or null for what is no time. A decimal comma is as good as a point. */
export function parseClock(text) {
  const parts = text.trim().replace(',', '.').split(':')
  const isTime =
    parts.length <= 3 && parts.every((part, at) => (at === parts.length - 1 ? /^\d+(\.\d*)?$/ : /^\d+$/).test(part))
  if (!isTime) return null
  return parts.reduce((sum, part) => sum * 60 + Number(part), 0)
}
