/**
 * The live feed of tasks, progress and text. The lists are read at once, so that a slow line shows them before the feed is
 * connected. After every connect they are read again and the watched tasks resume where they were, so nothing is missed.
 * While there is no connection the lists are polled, and for good behind a proxy that makes the feed impossible.
 */
import { computed, effect, signal } from '@preact/signals'
import { io } from 'socket.io-client'
import { openId } from '../util/address.js'
import { noteBatchOf, readBatches } from './batches.js'
import { applyTranscriptEdited, retryEdits } from './editing.js'

import { hasHost, lacksWebSockets } from './proxy.js'
import { noteStored } from './storage.js'
import * as store from './store.js'
import { isCompleted } from './task.js'
import { applySegments, loadTranscript, segmentCount } from './transcripts.js'

const POLL_MS = 5000
const MOST_WATCHED = 24
const POSITIONS_MS = 3000
/** A server that is restarted, or another one of several, answers within this: nobody need be told. */
const LOST_AFTER_MS = 5000

/** 'connecting', 'connected' or 'lost'; 'polled' where there can be none. */
export const connection = signal(hasHost ? 'connecting' : 'polled')

const socket = io({
  path: new URL('socket.io', globalThis.document?.baseURI ?? 'http://localhost/').pathname,
  transports: ['websocket', 'polling'],
  tryAllTransports: true,
  reconnectionDelay: 500,
  reconnectionDelayMax: 5000,
  autoConnect: false,
})

const watched = new Set()

/** Ids of the tasks whose text is needed: running ones, for their line in the queue, and the open one, which may be edited. */
const wanted = computed(() => {
  const ids = new Set(store.groups.value.running.slice(0, MOST_WATCHED).map((task) => task.id))
  const open = openId.value && store.taskOf(openId.value)?.value
  if (open) ids.add(open.id)
  return ids
})

export function startLive() {
  if (hasHost) connect()
  catchUp()
  setInterval(catchUpWithoutConnection, POLL_MS)
}

function connect() {
  socket.on('connect', onConnect)
  socket.on('disconnect', (reason) => {
    noteLoss()
    // The client library does not reconnect by itself after the server has closed the connection.
    if (reason === 'io server disconnect') setTimeout(() => socket.connect(), 1000)
  })
  socket.on('connect_error', () => {
    noteLoss()
    if (!socket.active) setTimeout(() => socket.connect(), 2000)
  })
  socket.on('task', onTask)
  socket.on('progress', store.applyProgress)
  socket.on('segments', onSegments)
  socket.on('system', onSystem)
  socket.on('transcript_edited', applyTranscriptEdited)
  socket.on('deleted', onDeleted)
  socket.on('missed', resume)
  effect(watchWanted)
  for (const name of ['online', 'offline', 'pageshow']) addEventListener(name, probe)
  document.addEventListener('visibilitychange', () => !document.hidden && probe())
  socket.connect()
}

/**
 * After a change of network or a sleep the socket may be dead without noticing. If a request fails too (a server on this
 * machine also answers offline), the socket is closed so that it reconnects at once instead of after its own time-out.
 */
async function probe() {
  if (!socket.connected) return socket.connect()
  try {
    await store.refreshSystem()
  } catch (error) {
    ignoreApiError(error)
    socket.io.engine?.close()
  }
  return undefined
}

let lossTimer = null

/** It shows as lost after a while. */
function noteLoss() {
  if (connection.value === 'connected') connection.value = 'connecting'
  lossTimer ??= setTimeout(() => (connection.value = 'lost'), LOST_AFTER_MS)
}

async function onConnect() {
  clearTimeout(lossTimer)
  lossTimer = null
  connection.value = 'connected'
  followTransport(socket.io.engine)
  await resume()
}

/** Reads everything again, and watches what is watched from where it is. */
async function resume() {
  watched.clear()
  watchWanted()
  retryEdits()
  if (hasBeenConnected) readOpenAgain()
  hasBeenConnected = true
  await catchUp()
}

let hasBeenConnected = false

/** Others may have edited the open text while there was no connection. */
function readOpenAgain() {
  const open = openId.peek() && store.taskOf(openId.peek())
  if (open && isCompleted(open.peek())) loadTranscript(openId.peek())
}

/** A WebSocket is tried first. */
function followTransport(engine) {
  lacksWebSockets.value = engine.transport.name === 'polling'
  engine.once('upgrade', () => (lacksWebSockets.value = false))
}

const catchUpWithoutConnection = () => connection.value !== 'connected' && catchUp()

async function catchUp() {
  const reads = [store.refresh(), store.refreshModels(), store.refreshSystem(), readBatches()]
  if (openId.peek()) reads.push(store.loadTask(openId.peek()))
  for (const read of await Promise.allSettled(reads)) {
    if (read.status === 'rejected' && read.reason.name !== 'ApiError') throw read.reason
  }
}

function watchWanted() {
  const ids = wanted.value
  if (connection.value !== 'connected') return
  for (const id of ids) if (!watched.has(id)) watch(id)
  for (const id of watched) if (!ids.has(id)) unwatch(id)
}

function watch(id) {
  watched.add(id)
  socket.emit('watch', { id, from: segmentCount(id) })
}

function unwatch(id) {
  watched.delete(id)
  socket.emit('unwatch', { id })
}

function onTask(event) {
  store.applyNews(event.task ?? event)
  noteBatchOf(event.task ?? event)
  noteStored()
  readPositionsSoon()
}

function onDeleted({ id }) {
  store.applyDeleted(id)
  noteStored()
}

function onSegments(event) {
  if (!applySegments(event)) socket.emit('watch', { id: event.id, from: segmentCount(event.id) })
}

function onSystem(state) {
  const before = store.system.peek()
  store.applySystem(state)
  if (modelsOf(before) !== modelsOf(state)) store.refreshModels().catch(ignoreApiError)
}

/** The models that are loaded or being downloaded; when these change, the list of models is read again. */
function modelsOf(state) {
  return JSON.stringify([
    state?.devices?.map((device) => device.resident_models),
    state?.fetches?.map((fetch) => fetch.model),
  ])
}

let positionsTimer = null

/** Every start moves up all waiting tasks without an event for each, so the line is read again, but not too often. */
function readPositionsSoon() {
  if (positionsTimer !== null || store.groups.peek().waiting.length === 0) return
  positionsTimer = setTimeout(() => {
    positionsTimer = null
    store.refreshLine().catch(ignoreApiError)
  }, POSITIONS_MS)
}

function ignoreApiError(error) {
  if (error.name !== 'ApiError') throw error
}
