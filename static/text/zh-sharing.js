/** 分享链接的中文文本。 */
export default {
  'share.title': '分享此转写文本',
  'share.hint': '持有链接的人无需账户即可阅读此文本，但看不到其他任何内容。',
  'share.until': '链接有效期',
  'share.days': '{count} 天',
  'share.unlimited': '长期有效，直到撤销',
  'share.media': '同时可以收听录音',
  'share.make': '生成链接',
  'share.made': '新链接，仅显示这一次。',
  'share.copy': '复制',
  'share.copied': '链接已复制',
  'share.list': '此文本的链接',
  'share.made_on': '创建于 {day}',
  'share.ends_on': '{day} 失效',
  'share.with_media': '含录音',
  'share.revoke': '撤销',
  'share.close': '关闭',
}
