/** Who uses the page: the server writes it into the page. Without accounts everybody may do everything. */

const { account = '', admin = '', session = '' } = globalThis.document?.getElementById('app')?.dataset ?? {}

/** The account's name; '' where there are no accounts. */
export const accountName = account
export const isAdmin = account === '' || admin !== ''
/** Whether the page can be left by logging out: not when a single sign-on proxy let the person in. */
export const hasSession = session !== ''
