/** The whole address of something below the page's, which may itself stand below a path. */
export const pageAddress = (path) => new URL(path, document.baseURI).href
