/** Whether the page notices a proxy that does not pass its host on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isHostKept } from '../../static/state/proxy.js'

const page = (protocol, host) => ({ protocol, host })

test('the same host is kept, with or without the usual port', () => {
  assert.ok(isHostKept('example.org', page('https:', 'example.org')))
  assert.ok(isHostKept('EXAMPLE.org:443', page('https:', 'example.org')))
  assert.ok(isHostKept('127.0.0.1:5552', page('http:', '127.0.0.1:5552')))
  assert.ok(isHostKept('[::1]:5552', page('http:', '[::1]:5552')))
})

test('another name or another port is not', () => {
  assert.ok(!isHostKept('127.0.0.1:5552', page('https:', 'example.org')))
  assert.ok(!isHostKept('example.org', page('http:', 'example.org:8080')))
  assert.ok(!isHostKept('no host', page('http:', 'example.org')))
})

test('a page that the server wrote no host into is not judged', () => {
  assert.ok(isHostKept('', page('http:', 'example.org')))
})
