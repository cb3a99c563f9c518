/** Which rows of a long list are drawn. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { edgesOf, partsOf, rowsBetween } from '../../static/util/virtual-rows.js'

const equal = (count, height = 100) => edgesOf(Array(count).fill(height))
const rowsIn = (parts) => parts.filter((part) => part.row !== undefined).map((part) => part.row)
const heightOf = (parts, heights) =>
  parts.reduce((sum, part) => sum + (part.gap === undefined ? heights[part.row] : part.gap), 0)

test('rows in view are drawn in whole steps, and never more than there are', () => {
  assert.deepEqual(rowsBetween(equal(2000), 5000, 6000), { first: 48, end: 64 })
  assert.deepEqual(rowsBetween(equal(50), 4500, 9000), { first: 40, end: 50 })
  assert.deepEqual(rowsBetween(equal(3), -400, 900), { first: 0, end: 3 })
  assert.deepEqual(rowsBetween(equal(0), -400, 900), { first: 0, end: 0 })
})

test('a list above or below the window draws nothing', () => {
  assert.deepEqual(rowsBetween(equal(20), -3000, -1000), { first: 0, end: 0 })
  assert.deepEqual(rowsBetween(equal(20), 2000, 3000), { first: 20, end: 20 })
})

test('every row in view is drawn, whatever the heights are', () => {
  const heights = Array.from({ length: 300 }, (_, index) => 20 + ((index * 37) % 90))
  const edges = edgesOf(heights)
  for (let from = -500; from < edges[300]; from += 173) {
    const { first, end } = rowsBetween(edges, from, from + 900)
    for (let row = 0; row < 300; row += 1) {
      const isInView = edges[row + 1] > from && edges[row] < from + 900
      assert.ok(!isInView || (row >= first && row < end), `row ${row} at ${from}`)
    }
    assert.ok(end - first <= 900 / 20 + 2 * 8)
  }
})

test('drawn rows and gaps together are as high as all rows', () => {
  const heights = Array.from({ length: 100 }, (_, index) => 50 + (index % 7))
  const edges = edgesOf(heights)
  for (const held of [-1, 0, 3, 45, 99]) {
    const parts = partsOf(edges, { first: 40, end: 56 }, [held, 0])
    assert.equal(heightOf(parts, heights), edges[100])
    assert.equal(new Set(rowsIn(parts)).size, rowsIn(parts).length)
  }
})

test('the row that has the focus stays drawn in its place', () => {
  const edges = equal(100)
  assert.deepEqual(partsOf(edges, { first: 40, end: 42 }, [3, -1]), [
    { gap: 300 },
    { row: 3 },
    { gap: 3600 },
    { row: 40 },
    { row: 41 },
    { gap: 5800 },
  ])
  assert.deepEqual(rowsIn(partsOf(edges, { first: 40, end: 42 }, [41])), [40, 41])
  assert.deepEqual(rowsIn(partsOf(edges, { first: 40, end: 42 }, [99, 0])), [0, 40, 41, 99])
})

test('a range that was found before rows went is cut to those that are left', () => {
  assert.deepEqual(rowsIn(partsOf(equal(3), { first: 0, end: 16 })), [0, 1, 2])
  assert.deepEqual(rowsIn(partsOf(equal(3), { first: 40, end: 56 })), [])
})
