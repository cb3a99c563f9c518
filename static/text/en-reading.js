/** The English texts of an open task: reading it and listening to it. */
export default {
  'transcript.search': 'Search this text',
  'transcript.hits': { one: '{count} hit', other: '{count} hits' },
  'transcript.in_segments': { one: 'in {count} segment', other: 'in {count} segments' },
  'transcript.hit_of': '{number} of {all}',
  'transcript.next_hit': 'Next hit (Enter)',
  'transcript.previous_hit': 'Previous hit (Shift+Enter)',
  'transcript.only_hits': 'Only these segments',
  'transcript.segments': 'Segments. Arrow keys move, Enter plays from a segment, the space bar pauses.',
  'transcript.segment': 'Play from {time}',
  'transcript.deleted': 'This task has been deleted.',
  'transcript.unread': 'The text could not be loaded.',
  'transcript.read_again': 'Try again',

  'player.play': 'Play',
  'player.pause': 'Pause',
  'player.speed': 'Playback speed',
  'player.position': 'Playback position',
  'player.back': { one: 'Back {count} second', other: 'Back {count} seconds' },
  'player.loop': 'Repeat this segment',
  'player.zoom_in': 'Zoom in on the waveform',
  'player.zoom_out': 'Zoom out of the waveform',
  'player.subtitles': 'Subtitles over the video',
  'player.full_screen': 'Full screen',
  'player.unplayable': 'This browser cannot play the file. The transcript is not affected.',
  'player.gone': 'The recording is no longer on the server. The transcript is not affected.',
  'player.unreachable': 'The recording cannot be loaded right now. This page keeps trying.',

  'subtitles.preview': 'Preview of the subtitles',

  'reading.doubts': 'Mark doubtful places',
  'reading.doubts_hint':
    'Words that the model was not sure of (with word timestamps), and segments that it may have invented',
  'reading.doubt_count': { one: '{count} place', other: '{count} places' },
  'reading.next_doubt': 'Next doubtful place',
  'reading.translation': 'Show the translation',
  'reading.original': 'Show the original',
  'doubt.unsure': 'The model was not sure of this segment.',
  'doubt.repeats': 'The text repeats itself; it may be invented.',
  'doubt.silence': 'Probably nobody speaks here; the text may be invented.',

  'again.title': 'Transcribe again with other options',
  'again.hint':
    'A new task of the same recording, which need not be uploaded again. This text stays as it is; advanced options stay the same.',
  'again.start': 'Start',
  'again.queued': 'New task of the same recording.',

  'redo.open': 'Segments again…',
  'redo.title': 'Let another model do segments again',
  'redo.hint':
    'Only the time of these segments is transcribed. What the model hears takes their place and can be undone.',
  'redo.selected': { one: 'The selected segment', other: 'The {count} selected segments' },
  'redo.doubtful': { one: 'The doubtful segment', other: 'All {count} segments with doubtful places' },
  'redo.present': 'The segment at the player’s position',
  'redo.queued': {
    one: '{count} segment is being done again. Its new text will appear by itself.',
    other: '{count} segments are being done again. Their new text will appear by itself.',
  },
}
