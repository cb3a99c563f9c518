/** A shared transcript: a time plays from there, and what is spoken is marked. Without scripts it is still all there. */
const player = document.querySelector('audio')
const times = [...document.querySelectorAll('[data-start]')]
const starts = times.map((time) => Number(time.dataset.start))

/** The number of the last start at or before `seconds`; -1 before the first. */
function placeAt(seconds) {
  let [low, high] = [0, starts.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (starts[middle] <= seconds + 0.01) low = middle + 1
    else high = middle
  }
  return low - 1
}

function markSpoken() {
  document.querySelector('.is-spoken')?.classList.remove('is-spoken')
  times[placeAt(player.currentTime)]?.parentElement.classList.add('is-spoken')
}

function playFrom(event) {
  const time = event.target.closest('[data-start]')
  if (!time) return
  player.currentTime = Number(time.dataset.start)
  player.play()
}

if (player) {
  player.addEventListener('timeupdate', markSpoken)
  document.querySelector('.text')?.addEventListener('click', playFrom)
}
