/** What is said when recordings are done: to a screen reader, in a notification, and in the title of the tab. */
import { formatNumber } from './format.js'
import { sentences, t } from './i18n.js'

/** ended: [{status, name}] of tasks that were completed or failed. left: how many still wait or run. */
export function newsText(ended, left) {
  const said = ['completed', 'failed'].map((status) => {
    const names = ended.filter((task) => task.status === status).map(({ name }) => name)
    if (names.length === 1) return t(`news.${status}`, { name: names[0] })
    return names.length > 0 && t(`news.${status}_many`, { count: names.length })
  })
  return sentences(...said, left > 0 && t('news.left', { count: left }))
}

/** Short, because tabs are narrow: how many were done while nobody looked, how many are left, the view, the program. */
export function pageTitle({ unseen, left, viewName, productName }) {
  const marks = [unseen > 0 && `✓ ${formatNumber(unseen)}`, left > 0 && `(${formatNumber(left)})`]
  return [...marks, [viewName, productName].filter(Boolean).join(' · ')].filter(Boolean).join(' ')
}
