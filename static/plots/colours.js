/** The colours of the plots. They are read from the style sheet at every drawing, so that they follow the theme. */

const FAMILIES = ['tiny', 'base', 'small', 'medium', 'large', 'turbo']
const FAINT = 0.65
const PACKED = 0.6
const INT8 = '-int8'

/**
 * Every family of models has a colour; variants (tiny.en, large-v1) are fainter than the newest of their family, and
 * int8 models fainter than the models whose weights they have.
 */
export function modelColour(model) {
  const family = FAMILIES.find((name) => model.startsWith(name)) ?? 'base'
  const weights = model.endsWith(INT8) ? model.slice(0, -INT8.length) : model
  const isVariant = weights.endsWith('.en') || /-v[12]$/.test(weights)
  return { token: `--plot-${family}`, alpha: (isVariant ? FAINT : 1) * (weights === model ? 1 : PACKED) }
}

const MEMORY_TOKENS = { others: '--plot-others', tasks: '--plot-tasks', beyond: '--plot-beyond' }

/** band: {kind, model?} of memory-bands.js. */
export const bandColour = ({ kind, model }) =>
  kind === 'model' ? modelColour(model) : { token: MEMORY_TOKENS[kind], alpha: 1 }

/** hex: #rrggbb. The opacity is appended as two more digits. */
export const withAlpha = (hex, alpha) =>
  alpha >= 1
    ? hex
    : `${hex}${Math.round(alpha * 255)
        .toString(16)
        .padStart(2, '0')}`

/** The colour for a canvas. */
export function drawn({ token, alpha }, strength = 1) {
  return withAlpha(getComputedStyle(document.documentElement).getPropertyValue(token).trim(), alpha * strength)
}

/** The colour for a CSS property. */
export const styled = ({ token, alpha }) =>
  alpha >= 1 ? `var(${token})` : `color-mix(in srgb, var(${token}) ${Math.round(alpha * 100)}%, transparent)`
