/** How recordings are played, as the person last chose it. */
import { preference } from '../util/preferences.js'

export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3]
export const speed = preference('speed', 1)

/** Pixels for a second in the waveform; the first shows the whole recording. */
export const ZOOMS = [0, 10, 25, 60, 150]

/** Whether subtitles are shown over a video. */
export const showsSubtitles = preference('subtitles-over-video', true)
