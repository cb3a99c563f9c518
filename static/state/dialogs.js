/** Which of the dialogs about editing is open: {name, ...what it is about}, or null. */
import { signal } from '@preact/signals'

export const openDialog = signal(null)

export const showDialog = (name, about = {}) => (openDialog.value = { name, ...about })
export const closeDialog = () => (openDialog.value = null)
