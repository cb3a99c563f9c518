/** What the person chose, kept in the browser. Where nothing can be kept, a choice lasts until the page is closed. */
import { effect, signal } from '@preact/signals'

const PREFIX = 'whisper.'

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name))
  } catch {
    return null
  }
}

function write(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value))
  } catch {
    // A private window, or no space left.
  }
}

/** A signal that starts with the kept value, or `fallback`, and keeps every change. */
export function preference(name, fallback) {
  const kept = read(name)
  const choice = signal(kept === null ? fallback : kept)
  effect(() => write(name, choice.value))
  return choice
}

/** How to scroll by script: smoothly, unless the person wants less motion. */
export const scrollBehavior = () => (matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth')

export const THEMES = ['auto', 'light', 'dark']
export const theme = preference('theme', 'auto')

/** Applies the theme now and at every change. `auto` follows the system. */
export function followTheme(root = document.documentElement) {
  const darkSystem = matchMedia('(prefers-color-scheme: dark)')
  const apply = () => {
    const isDark = theme.value === 'dark' || (theme.value === 'auto' && darkSystem.matches)
    root.dataset.theme = isDark ? 'dark' : 'light'
  }
  darkSystem.addEventListener('change', apply)
  effect(apply)
}
