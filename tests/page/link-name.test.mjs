/** What a file at an address is called, and which addresses can be sent. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { linkName, readLink } from '../../static/util/link-name.js'

test('a link is called by the end of its address, without what may be secret', () => {
  assert.equal(linkName('https://example.org/a/talk%20one.mp3?token=s3cret'), 'talk one.mp3')
  assert.equal(linkName('https://example.org/?token=s3cret'), 'example.org')
  assert.equal(linkName('https://example.org/100%'), '100%')
})

test('only addresses of the web can be sent', () => {
  assert.equal(readLink(' https://example.org/a.mp3#part '), 'https://example.org/a.mp3')
  for (const text of [
    '',
    'talk.mp3',
    'example.org/a',
    'file:///etc/passwd',
    'ftp://example.org/',
    'https://me:pw@example.org/',
  ]) {
    assert.equal(readLink(text), null, text)
  }
})
