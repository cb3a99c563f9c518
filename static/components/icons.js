/** Line icons, 24 by 24, drawn in the colour of the text around them. */
import { html } from 'htm/preact'

const PATHS = {
  upload: 'M12 16V4m0 0L7 9m5-5 5 5M4 16v2a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-2',
  download: 'M12 4v12m0 0 5-5m-5 5-5-5M4 17v1a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-1',
  close: 'M6 6l12 12M18 6 6 18',
  retry: 'M20 11a8 8 0 1 0-2.3 5.7M20 4v7h-7',
  trash: 'M4 7h16M10 11v6M14 11v6M6 7l1 12a2 2 0 0 0 2 2h6a2 2 0 0 0 2-2l1-12M9 7V5a1 1 0 0 1 1-1h4a1 1 0 0 1 1 1v2',
  stop: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM9.5 9.5h5v5h-5z',
  search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM20 20l-4-4',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4',
  moon: 'M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5Z',
  contrast: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0 0V3m0 3h5.5M12 10h8.6M12 14h8.6M12 18h5.5',
  play: 'M8 5.5v13l10.5-6.5z',
  pause: 'M8 5.5v13M16 5.5v13',
  copy: 'M9 9h9a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-7a2 2 0 0 1-2-2zM15 9V6a2 2 0 0 0-2-2H6a2 2 0 0 0-2 2v7a2 2 0 0 0 2 2h3',
  alert: 'M12 8v5m0 3.5v.01M12 3 2.5 20h19z',
  check: 'M5 12.5 10 17.5 19 7',
  chip: 'M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4',
  bulb: 'M9 18h6M10 21h4M8.5 14.5a6 6 0 1 1 7 0c-.7.5-1 1.2-1 2V17h-5v-.5c0-.8-.3-1.5-1-2Z',
  pencil: 'M4 20h4L19 9a2 2 0 0 0-4-4L4 16v4M13.5 6.5l4 4',
  undo: 'M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3',
  redo: 'M15 14l5-5-5-5M20 9H10a6 6 0 0 0 0 12h3',
  person: 'M12 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4 21a8 8 0 0 1 16 0',
  merge: 'M12 20V9m0 0-5 5m5-5 5 5M5 4h14',
  insert: 'M12 5v14M5 12h14',
  share: 'M12 15V3m0 0L8 7m4-4 4 4M7 11H5v10h14V11h-2',
  pin: 'M12 21v-7M8 4h8l-1 6 3 4H6l3-4z',
  bell: 'M6 16.5V11a6 6 0 1 1 12 0v5.5l1.5 2h-15zM10 21h4',
  grip: 'M9 6v.01M15 6v.01M9 12v.01M15 12v.01M9 18v.01M15 18v.01',
  filter: 'M4 6h16M7 12h10M10.5 18h3',
  chevron: 'M6 9.5l6 6 6-6',
  back: 'M11 6.5 5.5 12l5.5 5.5M18.5 6.5 13 12l5.5 5.5',
  loop: 'M17 2.5 20.5 6 17 9.5M20.5 6H7a3.5 3.5 0 0 0-3.5 3.5V11M7 21.5 3.5 18 7 14.5M3.5 18H17a3.5 3.5 0 0 0 3.5-3.5V13',
  minus: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM20 20l-4-4M8 11h6',
  plus: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM20 20l-4-4M8 11h6M11 8v6',
  fill: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
  subtitles:
    'M3 6.5A1.5 1.5 0 0 1 4.5 5h15A1.5 1.5 0 0 1 21 6.5v11a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5zM7 12h3m3 0h4M7 15.5h6m3 0h1',
  previous: 'M6 14.5l6-6 6 6',
  next: 'M6 9.5l6 6 6-6',
}

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.75"
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`
}

/** The product's mark: a sound wave that turns into a line. */
export function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true" focusable="false">
    <rect width="32" height="32" rx="9" class="mark-ground" />
    <path class="mark-voice" d="M8 13v6M12 9.5v13M16 12v8M20 14.5v3M23 16h1.5" fill="none" stroke-width="2.4" stroke-linecap="round" />
  </svg>`
}
