/** What is read of WebVTT to show how subtitles are cut. */

/** The texts of the first `count` cues, without their markup; a line break is kept. */
export function firstCues(text, count) {
  const blocks = text.split(/\r?\n\r?\n/).filter((block) => block.includes('-->'))
  return blocks.slice(0, count).map((block) => {
    const lines = block.trim().split(/\r?\n/)
    return plain(lines.slice(lines.findIndex((line) => line.includes('-->')) + 1).join('\n'))
  })
}

const plain = (text) =>
  text
    .replace(/<[^>]*>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&nbsp;', ' ')
    .replaceAll('&amp;', '&')
