import { Buffer } from 'node:buffer'
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { accepts, algorithms, importKey, signer } from './keys.js'
import { chosen, safe } from './options.js'
import { Refusal } from './refusal.js'
import { decode64 } from './text.js'
import { claimTypes, mediaType, readClaims, readHeader, split } from './token.js'

const usual = {
  algorithms: ['ES256', 'EdDSA'], window: 60, nonceKey: undefined, maxReplays: 65_536, maxLength: 4096,
  insecureNoNonce: false, insecureAllowHTTP: false,
}

const ahead = 10_000 // how far in the future a proof may be from, in ms: clocks differ
const types = claimTypes({ htm: 'string', htu: 'string', ath: 'string', nonce: 'string' })

/**
 * Checks proofs of possession (DPoP, RFC 9449) as Go's package dpop does, which
 * says why.
 * @type {typeof import('../index.js').createProofs}
 */
export function createProofs(origin, options = {}) {
  const o = chosen(options, usual)
  const base = /[?#]/.test(origin) ? undefined : normal(origin)
  if (base === undefined) throw new TypeError(`${origin} is no origin, such as https://api.example.org`)
  safe(base, o)
  if (!(o.window > 0 && o.window <= 600)) throw new RangeError('a window is at most 600 seconds')
  if (o.nonceKey !== undefined && !(o.nonceKey.length >= 32)) throw new RangeError('a nonce key has 32 bytes')
  const here = base.replace(/\/$/, '')
  const window = o.window * 1000
  const algs = algorithms(o.algorithms)
  const replays = new Replays(o.maxReplays, window + ahead)
  const nonceKey = o.nonceKey ?? randomBytes(32)
  // What was used before a restart is not good after it.
  if (o.nonceKey !== undefined && !o.insecureNoNonce) replays.forget(Date.now())

  // A nonce is the time when it was given and a MAC of it: it needs no memory,
  // and tells by this clock how old a proof can be.
  function nonceAt(ms) {
    const time = Buffer.alloc(6)
    time.writeUIntBE(ms, 0, 6)
    return Buffer.concat([time, createHmac('sha256', nonceKey).update(time).digest().subarray(0, 12)]).toString('base64url')
  }

  function timeOf(nonce) {
    const bytes = decode64(nonce ?? '')
    if (bytes?.length !== 18) return NaN
    const ms = bytes.readUIntBE(0, 6)
    return same(nonce, nonceAt(ms)) ? ms : NaN
  }

  async function read(req, token, now) {
    const sent = req.rawHeaders.filter((_, i) => i % 2 === 1 && req.rawHeaders[i - 1].toLowerCase() === 'dpop')
    if (sent.length !== 1 || sent[0].length > o.maxLength) throw new Refusal('invalid_dpop_proof')
    let claims, jkt
    try {
      const parts = split(sent[0])
      const header = readHeader(parts.header)
      if (!accepts(algs, header.alg)) throw new Refusal('jwt_algorithm')
      if (header.typ === undefined || mediaType(header.typ) !== 'dpop+jwt') throw new Refusal('jwt_type')
      const { jwk } = header
      if (typeof jwk !== 'object' || jwk === null) throw new Refusal('jwt_key_unknown')
      const key = await importKey(jwk, algorithms([header.alg]))
      await signer([key], parts)
      claims = readClaims(parts.payload, types)
      jkt = thumbprint(key.bare)
    } catch (cause) {
      throw new Refusal('invalid_dpop_proof', cause)
    }
    const { jti, htm, htu, iat, ath, nonce, exp = Infinity, nbf = 0 } = claims
    const [path] = (req.originalUrl ?? req.url).split(/[?#]/, 1)
    const good = jti && iat !== undefined && htm === req.method && htu && normal(htu) === normal(here + path) &&
      same(ath ?? '', createHash('sha256').update(token).digest('base64url')) && now < exp * 1000 && now >= nbf * 1000
    if (!good) throw new Refusal('invalid_dpop_proof')
    // With nonces the sender's clock may be wrong (RFC 9449 section 4.3, 11).
    const at = o.insecureNoNonce ? Math.floor(iat * 1000) : timeOf(nonce)
    if (!(at - now <= ahead && now - at <= window)) throw new Refusal(o.insecureNoNonce ? 'invalid_dpop_proof' : 'use_dpop_nonce')
    return { jkt, jti, at }
  }

  return {
    /** Rejects unless the request proves that its sender has the token's key. */
    async check(req, token, jkt, { at: now = Date.now() } = {}) {
      const proof = await read(req, token, now)
      if (!same(proof.jkt, jkt)) throw new Refusal('dpop_other_key')
      const used = replays.use(proof, now)
      if (used === 'replayed') throw new Refusal('dpop_proof_replayed')
      if (used === 'forgotten') throw new Refusal(o.insecureNoNonce ? 'dpop_busy' : 'use_dpop_nonce')
    },
    nonce: (now = Date.now()) => (o.insecureNoNonce ? undefined : nonceAt(now)),
    challenge(code) {
      const error = { use_dpop_nonce: code, invalid_dpop_proof: code, dpop_proof_replayed: 'invalid_dpop_proof' }[code] ?? 'invalid_token'
      return `DPoP error="${error}", algs="${o.algorithms.join(' ')}"`
    },
  }
}

function same(a, b) {
  const [x, y] = [Buffer.from(a), Buffer.from(b)]
  return x.length === y.length && timingSafeEqual(x, y)
}

/** RFC 7638: the required members, in the order of their names. */
function thumbprint(bare) {
  const text = JSON.stringify(Object.fromEntries(Object.entries(bare).sort(([a], [b]) => (a < b ? -1 : 1))))
  return createHash('sha256').update(text).digest('base64url')
}

/**
 * A URI without query and fragment in its one spelling (RFC 3986 sections 6.2.2
 * and 6.2.3), or undefined. URL reads more than is one: it takes "\" for "/",
 * leaves out line breaks and finds a host where there is none.
 */
export function normal(uri) {
  if (!/^https?:\/\/[^/?#\\@\s][^\\\s\x00-\x1f\x7f]*$/i.test(uri) || /%(?![0-9a-f]{2})/i.test(uri)) return undefined
  let url
  try {
    url = new URL(uri)
  } catch {
    return undefined
  }
  if (url.username || url.password) return undefined
  const path = url.pathname.replace(/%[0-9a-f]{2}/gi, (escape) => {
    const c = String.fromCharCode(parseInt(escape.slice(1), 16))
    return /[\w.~-]/.test(c) ? c : escape.toUpperCase()
  })
  return `${url.protocol}//${url.host}${path}`
}

/**
 * Which proofs were used: about so many at most. None is taken twice all the
 * same, for with those that are forgotten goes the right of all proofs as old. A
 * key has one shard, so that who floods makes mostly his own proofs old.
 */
class Replays {
  constructor(most, keep) {
    this.most = Math.max(1, most / 32)
    this.keep = keep
    this.shards = Array.from({ length: 16 }, () => ({ young: new Set(), old: new Set(), begun: 0, last: 0, lastOld: 0, floor: -Infinity }))
  }

  forget(until) {
    for (const s of this.shards) s.floor = until
  }

  use({ jkt, jti, at }, now) {
    const s = this.shards[jkt.charCodeAt(0) % 16]
    const id = createHash('sha256').update(jkt + jti).digest('base64').slice(0, 22)
    // Only a clock that was put back does this: to wait would refuse everybody.
    if (s.floor > now + ahead) Object.assign(s, { young: new Set(), old: new Set(), last: 0, lastOld: 0, floor: -Infinity })
    if (s.young.size >= this.most || (s.young.size > 0 && now - s.begun > this.keep)) {
      s.floor = Math.max(s.floor, s.lastOld)
      Object.assign(s, { old: s.young, lastOld: s.last, young: new Set(), last: 0 })
    }
    if (at <= s.floor) return 'forgotten'
    if (s.old.has(id) || s.young.has(id)) return 'replayed'
    if (s.young.size === 0) s.begun = now
    s.young.add(id)
    s.last = Math.max(s.last, at)
    return 'fresh'
  }
}
