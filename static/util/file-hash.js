/** The SHA-256 of a file, where the browser can tell it: on https and localhost, and of files that fit in memory. */

const MOST_BYTES = 64e6

/** 64 hexadecimal digits, or null. */
export async function sha256Of(file) {
  if (!globalThis.crypto?.subtle || file.size > MOST_BYTES) return null
  try {
    const digest = await crypto.subtle.digest('SHA-256', await file.arrayBuffer())
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  } catch {
    return null // The file was moved or is not readable; sending it will say so.
  }
}
