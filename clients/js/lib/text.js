import { Buffer } from 'node:buffer'

/**
 * What base64url text encodes, or undefined. Node's decoder passes over padding,
 * line breaks, other alphabets and spare bits, so that only the way back shows
 * whether the spelling is the one.
 */
export function decode64(text) {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }) // a BOM stays, and is no JSON

/**
 * The members of one JSON object (RFC 8259): a Map of name → {value, raw}.
 * JSON.parse would take the last of two equal names where another reader takes
 * the first (RFC 8725 section 2.4), so equal names are refused, at every depth
 * and when only their case differs; so are half surrogates and what is not UTF-8.
 */
export function members(bytes) {
  return new Reader(utf8.decode(bytes)).members()
}

const bad = () => new SyntaxError('not strict JSON')
const maxDepth = 32 // bounds the recursion
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const words = new Map(Object.entries({ true: true, false: false, null: null }))

class Reader {
  at = 0

  constructor(text) {
    this.text = text
  }

  members() {
    const found = new Map()
    this.space()
    this.object(0, (name, value, raw) => found.set(name, { value, raw }))
    this.space()
    if (this.at < this.text.length) throw bad()
    return found
  }

  space() {
    for (; ; this.at++) {
      const c = this.text.charCodeAt(this.at)
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return
    }
  }

  take(c) {
    if (this.text[this.at] !== c) return false
    this.at++
    return true
  }

  object(depth, each) {
    if (!this.take('{')) throw bad()
    const seen = new Set()
    for (let first = true; ; first = false) {
      this.space()
      if (this.take('}')) return
      if (!first) {
        if (!this.take(',')) throw bad()
        this.space()
      }
      const name = this.string()
      const folded = fold(name)
      if (seen.has(folded)) throw bad()
      seen.add(folded)
      this.space()
      if (!this.take(':')) throw bad()
      this.space()
      const from = this.at
      const value = this.value(depth)
      each(name, value, this.text.slice(from, this.at))
    }
  }

  // Objects have no prototype, so that "__proto__" is a name like others, and
  // are frozen: who presents the same token shares them.
  value(depth) {
    if (depth > maxDepth) throw bad()
    const c = this.text[this.at]
    if (c === '"') return this.string()
    if (c === '{') {
      const value = Object.create(null)
      this.object(depth + 1, (name, v) => { value[name] = v })
      return Object.freeze(value)
    }
    if (c === '[') return Object.freeze(this.array(depth + 1))
    for (const [word, value] of words) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length
        return value
      }
    }
    number.lastIndex = this.at
    const found = number.exec(this.text)
    if (found === null) throw bad()
    this.at = number.lastIndex
    return Number(found[0])
  }

  array(depth) {
    const all = []
    this.at++
    this.space()
    if (this.take(']')) return all
    for (;;) {
      this.space()
      all.push(this.value(depth))
      this.space()
      if (this.take(']')) return all
      if (!this.take(',')) throw bad()
    }
  }

  string() {
    const { text, at: from } = this
    if (!this.take('"')) throw bad()
    for (let escaped = false; this.at < text.length; this.at++) {
      const c = text.charCodeAt(this.at)
      if (c === 0x22) {
        const raw = text.slice(from, ++this.at)
        return escaped ? unescape(raw) : raw.slice(1, -1)
      }
      if (c < 0x20) break
      if (c === 0x5c) {
        escaped = true
        this.at++
      }
    }
    throw bad()
  }
}

function unescape(raw) {
  const value = JSON.parse(raw)
  if (/\p{Surrogate}/u.test(value)) throw bad() // half a pair stands for no character
  return value
}

/**
 * The same for names that differ by case alone. The way over capitals joins what
 * has two small forms, as ſ and s.
 */
export function fold(name) {
  return name.toLowerCase().toUpperCase().toLowerCase()
}
