/**
 * tus-js-client as a module. Its build for browsers is one script that makes a global; its modules import CommonJS
 * packages, which a page without a bundler cannot load.
 */
import 'tus-js-client'

export const { Upload } = globalThis.tus
