/** What the server found wrong with options of the latest uploads, to be shown where they are chosen. */
import { signal } from '@preact/signals'

/** {field: {code, message}}, by the names of the form's fields. */
export const optionErrors = signal({})

export const showOptionError = (field, error) => (optionErrors.value = { ...optionErrors.value, [field]: error })

/** The person has changed it, or sends files anew. */
export function clearOptionError(field) {
  if (!(field in optionErrors.value)) return
  const { [field]: _, ...others } = optionErrors.value
  optionErrors.value = others
}

export const clearOptionErrors = () => (optionErrors.value = {})
