/** 队列作为工作台的中文文本。键与 en-queue.js 相同。 */
export default {
  'upload.hidden': { other: '有 {count} 个已上传的录音被当前筛选条件隐藏。' },

  'batch.arrived': '已上传 {arrived} / {count} 个文件',
  'batch.bytes': '{done} / {all}',
  'batch.refused': { other: '{count} 个未被接受' },
  'batch.known': { other: '{count} 个曾经上传' },
  'batch.show': '显示文件',
  'batch.hide': '收起文件',
  'batch.cancel': '全部取消',
  'batch.again': '全部重新转写',
  'batch.skip': '全部跳过',

  'confirm.and_more': { other: '……以及另外 {count} 个' },

  'news.completed': '{name} 已完成。',
  'news.completed_many': { other: '{count} 个录音已完成。' },
  'news.failed': '{name} 失败。',
  'news.failed_many': { other: '{count} 个录音失败。' },
  'news.left': { other: '还剩 {count} 个。' },
  'news.notify': '录音完成时通知我',
  'news.notify_on': '当您在其他标签页或程序中时，录音完成后会收到通知。',
  'news.blocked': '浏览器不允许此页面发送通知，可在浏览器设置中允许。',

  'option.set': '下次上传还会使用',
  'option.set_prompt': '提示词：{text}',
  'option.set_advanced': { other: '{count} 个高级选项' },
  'option.unset': '重置 {name}',
  'option.unset_all': '全部重置',
}
