/** The English texts of the queue as a workplace. zh-queue.js has the same keys. */
export default {
  'upload.hidden': {
    one: '{count} uploaded recording is hidden by the filter.',
    other: '{count} uploaded recordings are hidden by the filter.',
  },

  'batch.arrived': '{arrived} of {count} files uploaded',
  'batch.bytes': '{done} of {all}',
  'batch.refused': { one: '{count} rejected', other: '{count} rejected' },
  'batch.known': { one: '{count} sent before', other: '{count} sent before' },
  'batch.show': 'Show files',
  'batch.hide': 'Hide files',
  'batch.cancel': 'Cancel all',
  'batch.again': 'Transcribe all of them again',
  'batch.skip': 'Skip all of them',

  'confirm.and_more': { one: '… and {count} more', other: '… and {count} more' },

  'news.completed': '{name} is done.',
  'news.completed_many': { one: '{count} recording is done.', other: '{count} recordings are done.' },
  'news.failed': '{name} failed.',
  'news.failed_many': { one: '{count} recording failed.', other: '{count} recordings failed.' },
  'news.left': { one: '{count} is still to come.', other: '{count} are still to come.' },
  'news.notify': 'Notify me when recordings are done',
  'news.notify_on': 'You will be notified when recordings are done while you are in another tab or program.',
  'news.blocked': 'The browser does not allow notifications from this page. You can allow them in its settings.',

  'option.set': 'Also set for the next files',
  'option.set_prompt': 'Prompt: {text}',
  'option.set_advanced': { one: '{count} advanced option', other: '{count} advanced options' },
  'option.unset': 'Reset {name}',
  'option.unset_all': 'Reset all',
}
