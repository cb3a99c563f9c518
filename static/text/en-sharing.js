/** The English texts of links for people without an account. zh-sharing.js has the same keys. */
export default {
  'share.title': 'Share this transcript',
  'share.hint': 'Whoever has the link can read this transcript, without an account, and nothing else.',
  'share.until': 'The link ends after',
  'share.days': { one: '{count} day', other: '{count} days' },
  'share.unlimited': 'never, until it is revoked',
  'share.media': 'The recording can be heard, too',
  'share.make': 'Make a link',
  'share.made': 'The new link. It is not shown again.',
  'share.copy': 'Copy',
  'share.copied': 'Link copied',
  'share.list': 'Links to this transcript',
  'share.made_on': 'made on {day}',
  'share.ends_on': 'ends on {day}',
  'share.with_media': 'with the recording',
  'share.revoke': 'Revoke',
  'share.close': 'Close',
}
