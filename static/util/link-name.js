/** What a file at an address is called before the server has it: the end of the address, without what may be secret. */
export function linkName(address) {
  const { hostname, pathname } = new URL(address)
  const end = pathname.split('/').pop()
  try {
    return decodeURIComponent(end) || hostname
  } catch {
    return end // A % that stands for nothing.
  }
}

/** The address as it is to be sent, or null for what is none of a file on the web. */
export function readLink(text) {
  try {
    const url = new URL(text.trim())
    return ['http:', 'https:'].includes(url.protocol) && !url.username && !url.password ? url.href.split('#')[0] : null
  } catch {
    return null
  }
}
