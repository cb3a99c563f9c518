/** A search in the open text: what is found, and which hit the person is at. */
import { useSignal } from '@preact/signals'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { findIn } from '../state/text-search.js'
import { openAt, openQuery } from '../util/address.js'

/**
 * {query, setQuery, found, place, step(by), isFilter, setFilter}. found: of findIn. place: a signal of the hit {id, index,
 * number}, or null. isFilter: whether only segments with hits are shown; a text that is opened at a hit is shown whole.
 */
export function useTextSearch(segments) {
  const wanted = openQuery.value
  const [query, setQuery] = useState(wanted)
  const [isFilter, setFilter] = useState(wanted === '')
  const place = useSignal(null)
  const found = useMemo(() => findIn(segments, query), [segments, query])
  useEffect(() => {
    if (!wanted) return
    setQuery(wanted)
    setFilter(false)
  }, [wanted])

  const goTo = (number) => {
    const { places } = found
    const at = ((number % places.length) + places.length) % places.length
    place.value = places.length > 0 ? { ...places[at], number: at } : null
  }
  // A search of the queue that found the text as a whole names no moment.
  useEffect(() => {
    if (wanted && wanted === query && openAt.peek() === null && found.places.length > 0) goTo(0)
  }, [wanted, found])
  const step = (by) => goTo(place.peek() === null ? (by > 0 ? 0 : -1) : place.peek().number + by)
  const search = (text) => {
    place.value = null
    setQuery(text)
  }
  return { query, setQuery: search, found, place, step, isFilter, setFilter }
}
