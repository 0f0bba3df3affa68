import { Buffer } from 'node:buffer'
import { Refusal } from './refusal.js'
import { decode64, members } from './text.js'

/** WebCrypto; Node 18 has it in a module only. */
export const { subtle } = globalThis.crypto ?? (await import('node:crypto')).webcrypto

const rsa = (name, bits, salt) => ({
  kty: 'RSA', import: { name, hash: `SHA-${bits}` }, verify: { name, saltLength: salt },
})
const ecdsa = (curve, bits, size) => ({
  kty: 'EC', crv: curve, size, import: { name: 'ECDSA', namedCurve: curve }, verify: { name: 'ECDSA', hash: `SHA-${bits}` },
})
const ed25519 = { kty: 'OKP', crv: 'Ed25519', size: 32, import: { name: 'Ed25519' }, verify: { name: 'Ed25519' } }

// Algorithms with a public key alone: with no HMAC here nobody can pass a public
// key off as a secret. EdDSA is RFC 8037's name of what RFC 9864 calls Ed25519.
const schemes = {
  RS256: rsa('RSASSA-PKCS1-v1_5', 256), RS384: rsa('RSASSA-PKCS1-v1_5', 384), RS512: rsa('RSASSA-PKCS1-v1_5', 512),
  PS256: rsa('RSA-PSS', 256, 32), PS384: rsa('RSA-PSS', 384, 48), PS512: rsa('RSA-PSS', 512, 64),
  ES256: ecdsa('P-256', 256, 32), ES384: ecdsa('P-384', 384, 48), ES512: ecdsa('P-521', 512, 66),
  EdDSA: ed25519, Ed25519: ed25519,
}

const canonical = (alg) => (alg === 'EdDSA' ? 'Ed25519' : alg)

/** The accepted algorithms, each by its one name. */
export function algorithms(names) {
  for (const name of names) {
    if (!Object.hasOwn(schemes, name)) throw new TypeError(`${name} is no algorithm with a public key`)
  }
  if (names.length === 0) throw new TypeError('no algorithms are accepted')
  return new Set(names.map(canonical))
}

/** Whether a header's algorithm is one that is accepted. */
export const accepts = (algs, alg) => Object.hasOwn(schemes, alg) && algs.has(canonical(alg))

const maxSet = 1 << 20
const maxKeys = 256
const maxTries = 4 // for a token without a kid
const maxExponent = 65_537 // one of 31 bits makes a verification three times as dear, and no better

/** Keys that were found good, each for one algorithm. */
export class KeySet {
  keys = []

  /** @param {unknown} list the member "keys" of a JWK set; of it, keys that are no good are left out, as RFC 7517 section 5 asks */
  static async from(list, algs) {
    if (!Array.isArray(list) || list.length > maxKeys) throw new TypeError('no key set, or too many keys in it')
    const set = new KeySet()
    set.keys = (await Promise.all(list.map((jwk) => importKey(jwk, algs).catch(() => undefined)))).filter(Boolean)
    if (set.keys.length === 0) throw new TypeError('no usable key in the set')
    return set
  }

  has(kid) {
    return this.keys.some((k) => k.kid === kid)
  }

  candidates({ alg, kid }) {
    return this.keys.filter((k) => k.alg === canonical(alg) && (kid === undefined || k.kid === undefined || k.kid === kid))
  }
}

/** The key of these that has signed the input. */
export async function signer(candidates, { input, signature }) {
  if (candidates.length === 0 || candidates.length > maxTries) throw new Refusal('jwt_key_unknown')
  for (const k of candidates) {
    if (signature.length === k.signatureSize && (await subtle.verify(k.verify, k.key, signature, Buffer.from(input)))) return k
  }
  throw new Refusal('jwt_signature')
}

/** The key of a JWK, if it is public, good and for one of these algorithms. */
export async function importKey(jwk, algs) {
  const optional = (name) => {
    if (jwk[name] !== undefined && typeof jwk[name] !== 'string') throw new TypeError(`${name} is no string`)
    return jwk[name]
  }
  const [kid, use, said] = ['kid', 'use', 'alg'].map(optional)
  if (use !== undefined && use !== 'sig') throw new TypeError('not for signatures')
  if (jwk.key_ops !== undefined && !(Array.isArray(jwk.key_ops) && jwk.key_ops.includes('verify'))) throw new TypeError('not for verifying')
  const fits = [...algs].filter((a) => schemes[a].kty === jwk.kty && schemes[a].crv === jwk.crv && (said === undefined || canonical(said) === a))
  // One key is for one algorithm: it says which, or there is no choice.
  if (fits.length !== 1) throw new TypeError('for no accepted algorithm, or for several')
  const [alg] = fits
  const { kty, crv, size, import: params, verify } = schemes[alg]
  // Of RSA each of these alone gives the rest away.
  if (['d', 'k', 'p', 'q', 'dp', 'dq', 'qi', 'oth'].some((name) => jwk[name] !== undefined)) throw new TypeError('a private key that is published is none')
  const bytes = (name, length) => {
    const found = typeof jwk[name] === 'string' && decode64(jwk[name])
    if (!found || found.length === 0 || (length !== undefined && found.length !== length)) throw new TypeError(`${name} is malformed`)
    return found
  }
  const bare = { kty }
  let signatureSize
  if (kty === 'RSA') {
    const [n, e] = [bytes('n'), bytes('e')]
    const bits = n.length * 8 - Math.clz32(n[0]) + 24
    const odd = n[n.length - 1] & e[e.length - 1] & 1
    if (n[0] === 0 || e[0] === 0 || bits < 2048 || bits > 8192 || !odd || e.length > 3 || e.readUIntBE(0, e.length) < 3 || e.readUIntBE(0, e.length) > maxExponent) throw new TypeError('a weak RSA key')
    signatureSize = n.length
    Object.assign(bare, { n: jwk.n, e: jwk.e })
  } else {
    bytes('x', size)
    signatureSize = 2 * size
    Object.assign(bare, { crv, x: jwk.x })
    if (kty === 'EC') {
      bytes('y', size)
      bare.y = jwk.y
    } else if (!goodPoint(bytes('x', size))) throw new TypeError('a point of small order')
  }
  // WebCrypto refuses points that are not on the curve.
  return { kid, alg, bare, verify, signatureSize, key: await subtle.importKey('jwk', bare, params, false, ['verify']) }
}

const prime = 2n ** 255n - 19n
const eighth = 2707385501144840649318225287225658788936804267575313519463743609750303402022n
const small = [0n, 1n, prime - 1n, eighth, prime - eighth] // the y of the eight points whose order divides 8

/**
 * Whether an Ed25519 key is neither a point of small order, for which a
 * signature can be made up, nor a second spelling of one (RFC 8032 section
 * 5.1.3).
 */
function goodPoint(x) {
  const y = Buffer.from(x).reverse()
  y[0] &= 0x7f
  const n = BigInt(`0x${y.toString('hex')}`)
  return n < prime && !small.includes(n)
}

/** Keys that are given and do not change. */
export class GivenKeys {
  constructor({ keys }, algs) {
    this.set = KeySet.from(keys, algs)
    this.set.catch(() => {}) // who asks is told
  }

  get() {
    return this.set
  }

  async refresh() {}
}

/**
 * An issuer's keys behind a URL, as Go's jose.RemoteKeySet keeps them: fetched
 * when first asked for, renewed in the background when old, and at once for an
 * unknown kid, but once in a cool-down; while the issuer is away they serve on.
 */
export class RemoteKeys {
  #url
  #algs
  #o
  #current // {set, text, old, stale}
  #flight
  #next = -Infinity
  #failed

  constructor(url, algs, o) {
    this.#url = url
    this.#algs = algs
    this.#o = o
  }

  async get(kid) {
    const now = performance.now()
    const have = this.#current
    if (have === undefined || now >= have.stale) await this.#fetch()
    // As long as it cannot be told whether there is such a key, a refusal would
    // have a client throw a good token away.
    else if (kid !== undefined && !have.set.has(kid)) await this.#fetch()
    else if (now >= have.old) {
      const renewal = this.#fetch().catch(() => {})
      // Where nobody has asked for so long, keys may have been taken back.
      if (now >= have.old + this.#o.maxAge * 1000 && !this.#failed) await renewal
    }
    if (this.#current === undefined || performance.now() >= this.#current.stale) throw new Refusal('jwt_keys_away', this.#failed)
    return this.#current.set
  }

  /** Fetches the set now, whatever its age and the cool-down: for when a key has been taken back. */
  async refresh() {
    await this.#flight?.catch(() => {}) // which may have been answered before
    this.#next = -Infinity
    await this.#fetch()
  }

  // One fetch is under way at a time.
  #fetch() {
    if (this.#flight) return this.#flight
    if (performance.now() < this.#next) return this.#failed ? Promise.reject(this.#failed) : Promise.resolve()
    this.#flight = this.#load().then(
      () => { this.#failed = undefined },
      (cause) => {
        this.#failed = new Refusal('jwt_keys_away', cause)
        this.#o.onError(this.#failed)
        throw this.#failed
      },
    ).finally(() => {
      const idle = this.#current === undefined || performance.now() >= this.#current.stale // with nothing to serve
      this.#flight = undefined
      this.#next = performance.now() + 1000 * (idle ? Math.min(1, this.#o.coolDown) : this.#o.coolDown)
    })
    return this.#flight
  }

  async #load() {
    const answer = await fetch(this.#url, {
      // A cache in between may still have a set with a key that was taken back.
      headers: { accept: 'application/jwk-set+json, application/json', 'cache-control': 'no-cache' },
      redirect: 'error', // to elsewhere, perhaps to plain HTTP
      signal: AbortSignal.timeout(5000),
    })
    const bytes = await bounded(answer, maxSet)
    const { maxAge, maxStale } = this.#o
    const said = /(?:^|,)\s*max-age=(\d{1,9})\s*(?:,|$)/i.exec(answer.headers.get('cache-control') ?? '')
    const age = Math.max(said ? Math.min(Number(said[1]), maxAge) : maxAge, Math.min(60, maxAge))
    const now = performance.now()
    const text = bytes.toString('latin1')
    // The same text is the same set: what was remembered under it stays.
    const set = this.#current?.text === text ? this.#current.set : await KeySet.from(members(bytes).get('keys')?.value, this.#algs)
    this.#current = { set, text, old: now + age * 1000, stale: now + maxStale * 1000 }
  }
}

/** The body of an answer, of so many bytes at most. */
export async function bounded(answer, most) {
  if (answer.status !== 200) {
    await answer.body?.cancel()
    throw new Error(`status ${answer.status}`)
  }
  const parts = []
  let length = 0
  for await (const part of answer.body) {
    if ((length += part.length) > most) throw new Error(`an answer of more than ${most} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}
