/** What is wrong with a language's file, static/text/<code>.json, and what it leaves in English. */
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import en from '../../static/text/en.js'
import zh from '../../static/text/zh.js'

const ROOT = new URL('../../', import.meta.url)
const ABOUT = ['language.name', 'language.short', 'language.locale', 'language.direction']
const CATEGORIES = ['zero', 'one', 'two', 'few', 'many', 'other']

/** The texts of pages without modules, by their keys, in English; the templates hold them. */
export async function textsOfTemplates() {
  const found = {}
  for (const name of ['login.html', 'shared.html']) {
    const template = await readFile(new URL(`templates/${name}`, ROOT), 'utf8')
    for (const [, key, text] of template.matchAll(/said\("([\w.]+)", "([^"]+)"/g)) found[key] = text
  }
  return found
}

/** code -> texts of every language that is a file. */
export async function languageFiles() {
  const names = (await readdir(new URL('static/text/', ROOT))).filter((name) => name.endsWith('.json'))
  const read = async (name) => [
    name.replace('.json', ''),
    JSON.parse(await readFile(new URL(`static/text/${name}`, ROOT), 'utf8')),
  ]
  return Object.fromEntries(await Promise.all(names.map(read)))
}

/** {unused, wrong, missing}: keys that nothing shows, that cannot be filled in as in English, and that are left in English. */
export async function examine(texts) {
  const english = { ...en, ...(await textsOfTemplates()) }
  // Of these the server has the English sentence; the values are those of the Chinese one.
  const codes = Object.fromEntries(Object.entries(zh).filter(([key]) => /^(error|detail|advice)\./.test(key)))
  const known = { ...codes, ...english }
  const given = Object.keys(texts).filter((key) => !ABOUT.includes(key))
  return {
    unused: given.filter((key) => !(key in known)),
    wrong: given.filter((key) => key in known && !fits(texts[key], known[key])),
    missing: Object.keys(english).filter((key) => !(key in texts)),
  }
}

function fits(entry, model) {
  const allowed = [...valuesOf(model), '{count}']
  return isEntry(entry) && valuesOf(entry).every((value) => allowed.includes(value))
}

const isText = (value) => typeof value === 'string' && value !== ''

/** A text, or one for each category of numbers that the language has, `other` among them. */
function isEntry(entry) {
  if (entry === null || typeof entry !== 'object') return isText(entry)
  const isKnown = Object.entries(entry).every(([category, text]) => CATEGORIES.includes(category) && isText(text))
  return isKnown && 'other' in entry
}

const valuesOf = (entry) => JSON.stringify(entry).match(/\{\w+\}/g) ?? []

/** `npm run --silent texts de`: what is wrong with a file, and as JSON what it lacks, in English. */
async function tell(code) {
  const texts = (await languageFiles())[code] ?? {}
  const { unused, wrong, missing } = await examine(texts)
  for (const key of unused) console.error(`${key}: nothing shows this text`)
  for (const key of wrong) console.error(`${key}: not a text with the values of the English one`)
  const english = { ...en, ...(await textsOfTemplates()) }
  console.log(JSON.stringify(Object.fromEntries(missing.map((key) => [key, english[key]])), null, 2))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await tell(process.argv[2])
