/** The plots' colours, read from the style sheet when they are drawn, so that they are those of the theme. */

const FAMILIES = ['tiny', 'base', 'small', 'medium', 'large', 'turbo']
const FAINT = 0.65

/** A model's colour by its family; its variants (tiny.en, large-v1) are fainter, its newest is not. */
export function modelColour(model) {
  const family = FAMILIES.find((name) => model.startsWith(name)) ?? 'base'
  const isVariant = model.endsWith('.en') || /-v[12]$/.test(model)
  return { token: `--plot-${family}`, alpha: isVariant ? FAINT : 1 }
}

const MEMORY_TOKENS = { others: '--plot-others', tasks: '--plot-tasks', beyond: '--plot-beyond' }

/** band: {kind, model?} of memorybands.js. */
export const bandColour = ({ kind, model }) =>
  kind === 'model' ? modelColour(model) : { token: MEMORY_TOKENS[kind], alpha: 1 }

/** #rrggbb with the opacity as two more digits. */
export const withAlpha = (hex, alpha) =>
  alpha >= 1
    ? hex
    : `${hex}${Math.round(alpha * 255)
        .toString(16)
        .padStart(2, '0')}`

/** The colour as a canvas takes it. */
export function drawn({ token, alpha }, strength = 1) {
  return withAlpha(getComputedStyle(document.documentElement).getPropertyValue(token).trim(), alpha * strength)
}

/** The colour as a style takes it. */
export const styled = ({ token, alpha }) =>
  alpha >= 1 ? `var(${token})` : `color-mix(in srgb, var(${token}) ${Math.round(alpha * 100)}%, transparent)`
