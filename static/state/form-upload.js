/**
 * In one request: a link, and a file with options that a resumable upload cannot be told. One key, so that a lost answer
 * makes no second task.
 */
import { uploadFile, uploadLink } from '../api.js'
import { randomKey } from '../util/random-key.js'

export class FormUpload {
  #key = randomKey()
  #request = null

  constructor({ file, fields, url }, onProgress) {
    this.begin = () => (url ? uploadLink(url, fields, this.#key) : uploadFile(file, fields, this.#key, onProgress))
  }

  async send() {
    this.#request = this.begin()
    const { task, duplicate_of: duplicateOf } = await this.#request.done
    return { task, duplicateOf }
  }

  abort() {
    this.#request?.abort()
  }
}
