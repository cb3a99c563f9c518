/**
 * Recording with the microphone. Every two seconds of it are put on the disk, so neither a closed tab nor a crash loses
 * more than that; it is removed from there once the server has it.
 */
import { computed, signal } from '@preact/signals'
import { t } from '../text/i18n.js'
import { addPart, beginFile, endFile, forgetFile, keptFiles, readFile } from '../util/kept-files.js'
import { recordedMs, recordingName } from './recorded.js'
import { toast } from './toasts.js'
import { chosenFields } from './upload-options.js'
import { addFiles } from './uploads.js'

const PART_MS = 2000
const TYPES = ['audio/webm;codecs=opus', 'audio/mp4', 'audio/ogg;codecs=opus']

/** Browsers give the microphone only to pages that came over https or from this machine. */
export const canRecord = Boolean(globalThis.navigator?.mediaDevices && globalThis.MediaRecorder && globalThis.indexedDB)

/** {phase, startedAt, before}: phase is 'idle', 'asking', 'recording' or 'paused'; `before`: ms recorded until startedAt. */
export const recording = signal({ phase: 'idle', startedAt: 0, before: 0 })

/** [{id, name, at}] of recordings that were interrupted; the person is asked what to do with each. */
export const interrupted = signal([])

export const isRecording = computed(() => ['recording', 'paused'].includes(recording.value.phase))

let current = null

export async function startRecording() {
  if (recording.peek().phase !== 'idle') return
  recording.value = { phase: 'asking', startedAt: 0, before: 0 }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true })
    await begin(stream)
  } catch (error) {
    recording.value = { phase: 'idle', startedAt: 0, before: 0 }
    toast(t(error.name === 'NotAllowedError' ? 'record.not_allowed' : 'record.failed'), { tone: 'error' })
  }
}

async function begin(stream) {
  const type = TYPES.find((each) => MediaRecorder.isTypeSupported(each)) ?? ''
  const recorder = new MediaRecorder(stream, type ? { mimeType: type } : {})
  const at = new Date()
  const note = {
    id: randomId(),
    name: recordingName(t('record.name'), at, recorder.mimeType),
    type: recorder.mimeType,
    at: at.getTime(),
  }
  await beginFile(note)
  current = {
    note,
    recorder,
    stream,
    parts: 0,
    written: Promise.resolve(),
    isWanted: true,
    release: await hold(note.id),
  }
  recorder.addEventListener('dataavailable', ({ data }) => keep(current, data))
  recorder.addEventListener('stop', () => finish(current))
  // The microphone was unplugged, or the permission withdrawn.
  for (const track of stream.getTracks()) track.addEventListener('ended', stopRecording)
  recorder.start(PART_MS)
  recording.value = { phase: 'recording', startedAt: Date.now(), before: 0 }
}

/** Other tabs see by this lock that the recording is not interrupted. Resolves to how to let it go. */
function hold(id) {
  return new Promise((resolve) => {
    navigator.locks.request(lockOf(id), () => new Promise((release) => resolve(release)))
  })
}

const lockOf = (id) => `kept-file-${id}`

function keep(made, data) {
  if (data.size === 0) return
  const number = made.parts++
  made.written = made.written.then(() => addPart(made.note.id, number, data))
}

async function finish(made) {
  for (const track of made.stream.getTracks()) track.stop()
  recording.value = { phase: 'idle', startedAt: 0, before: 0 }
  try {
    await made.written
    if (made.isWanted) {
      await endFile(made.note)
      await send(made.note)
    } else await forgetFile(made.note.id)
  } finally {
    made.release()
  }
}

/** Ends the recording and sends it. */
export const stopRecording = () => end({ isWanted: true })

/** Ends the recording and throws it away. */
export const discardRecording = () => end({ isWanted: false })

function end({ isWanted }) {
  if (!current || current.recorder.state === 'inactive') return
  current.isWanted = isWanted
  current.recorder.stop()
}

export function togglePause() {
  const state = recording.peek()
  if (state.phase === 'recording') {
    current.recorder.pause()
    recording.value = { phase: 'paused', startedAt: 0, before: recordedMs(state, Date.now()) }
  } else if (state.phase === 'paused') {
    current.recorder.resume()
    recording.value = { ...state, phase: 'recording', startedAt: Date.now() }
  }
}

async function send(note) {
  const file = await readFile(note)
  addFiles([file], chosenFields(), { onGone: () => forgetFile(note.id) })
}

/** Sends what an earlier page or the service worker has left, and asks about recordings that were interrupted. */
export async function sendKeptFiles() {
  if (!globalThis.indexedDB || !globalThis.navigator?.locks) return
  for (const note of await keptFiles()) {
    await navigator.locks.request(lockOf(note.id), { ifAvailable: true }, async (lock) => {
      if (!lock) return // Another tab is recording or sending it.
      if (note.isWhole) await send(note)
      else interrupted.value = [...interrupted.value, note]
    })
  }
}

export async function sendInterrupted(note) {
  interrupted.value = interrupted.value.filter((other) => other !== note)
  await endFile(note)
  await send(note)
}

export async function discardInterrupted(note) {
  interrupted.value = interrupted.value.filter((other) => other !== note)
  await forgetFile(note.id)
}

/** crypto.randomUUID exists only on https and localhost, and so does the microphone. */
const randomId = () => crypto.randomUUID()
