import { STATUS_CODES } from 'node:http'
import { Ended, namesOf } from './lib/ended.js'
import { follow } from './lib/feed.js'
import { accepts, algorithms, GivenKeys, RemoteKeys, signer } from './lib/keys.js'
import { Memory } from './lib/memory.js'
import { chosen, safe } from './lib/options.js'
import { createProofs } from './lib/proofs.js'
import { Refusal } from './lib/refusal.js'
import { Lists, listType, placeOf } from './lib/statuslist.js'
import { claimTypes, mediaType, readClaims, readHeader, split } from './lib/token.js'

export { createProofs, Refusal }

const iatGrace = 30 // seconds ahead that iat may be: nothing depends on it

/** @type {any} every option, and what it is unless set */
const usual = {
  issuer: undefined, audience: undefined, jwks: undefined, feed: undefined,
  algorithms: ['ES256', 'EdDSA', 'RS256'], type: 'at+jwt', leeway: 0, maxLength: 16 << 10, remember: 10_000,
  bound: 60, maxAge: 600, maxStale: 86_400, coolDown: 10, claims: {}, onError() {},
  insecureNoFeed: false, insecureWhenStale: false, insecureAllowHTTP: false,
}

/**
 * Makes a verifier of the access tokens of one issuer for one audience. It
 * follows the issuer's feed at once, until its close is called.
 * @type {typeof import('./index.js').createVerifier}
 */
export function createVerifier(options) {
  const o = chosen(options, usual)
  if (!isText(o.issuer)) throw new TypeError('an issuer is required')
  const audience = [o.audience].flat()
  if (audience.length === 0 || !audience.every(isText)) throw new TypeError('an audience is required')
  if (!isText(o.type)) throw new TypeError('a type is required')
  if (!(o.leeway >= 0 && o.leeway <= 300)) throw new RangeError('a leeway is from 0 to 300 seconds')
  for (const name of ['maxLength', 'remember', 'bound', 'maxAge', 'maxStale', 'coolDown']) {
    if (!(o[name] >= 0)) throw new RangeError(`${name} is negative or no number`)
  }
  if (!o.feed && !o.insecureNoFeed) throw new TypeError('a feed is required: without one, ended sessions live on until their tokens expire')

  const base = o.issuer.replace(/\/$/, '')
  const algs = algorithms(o.algorithms)
  const types = claimTypes(o.claims)
  const keys = o.jwks?.keys ? new GivenKeys(o.jwks, algs) : new RemoteKeys(safe(o.jwks ?? `${base}/oauth/jwks`, o), algs, o)
  const ended = new Ended(o.bound * 1000, o.insecureWhenStale)
  const listTypes = claimTypes({ status_list: 'object', ttl: 'integer' })
  // The draft has neither iss nor aud: the keys are the issuer's, and sub is the
  // list's address.
  const lists = new Lists(`${base}/`, o.bound * 1000, async (token) => readClaims((await signed(token, listType)).payload, listTypes))
  const memory = new Memory(o.remember)
  const stop = new AbortController()
  let first = () => {}
  const ready = new Promise((resolve) => { first = () => resolve(undefined) })
  if (o.feed) listen(o.feed)
  else first()

  function listen({ token, url = `${base}/feed` }) {
    if (!isText(token) && typeof token !== 'function') throw new TypeError('the feed demands a token: an API key with the scope feed')
    follow({
      url: safe(url, o),
      token: typeof token === 'function' ? token : () => token,
      signal: stop.signal,
      position: () => ended.head,
      hear(news) {
        ended.hear(news)
        first()
        // Who has the key could sign a token that outlives this news.
        if (news.events.some((e) => e.kind === 'kid')) keys.refresh().catch(() => {})
      },
      onError: o.onError,
    })
  }

  // What a token of this type says, if one of the keys has signed it.
  async function signed(token, type) {
    const parts = split(token)
    let set = await keys.get()
    const header = readHeader(parts.header)
    if (!accepts(algs, header.alg)) throw new Refusal('jwt_algorithm')
    if (header.typ === undefined || mediaType(header.typ) !== mediaType(type)) throw new Refusal('jwt_type')
    let candidates = set.candidates(header)
    if (candidates.length === 0 && header.kid !== undefined) {
      set = await keys.get(header.kid)
      candidates = set.candidates(header)
    }
    return { set, key: await signer(candidates, parts), payload: parts.payload }
  }

  async function read(token, now) {
    const { set, key, payload } = await signed(token, o.type)
    const claims = readClaims(payload, types)
    if (claims.iss !== o.issuer) throw new Refusal('jwt_issuer')
    if (![claims.aud].flat().some((a) => audience.includes(a))) throw new Refusal('jwt_audience')
    if (claims.exp === undefined || !claims.sub) throw new Refusal('jwt_claim_missing')
    inTime(claims, now)
    const known = { claims, names: o.feed && (await namesOf(claims, key.kid)), place: placeOf(claims.status) }
    memory.put(set, token, known)
    return known
  }

  // While there is no news, the status list is asked.
  function lives({ names, place }, now) {
    try {
      ended.check(names, now)
    } catch (err) {
      if (err.code !== 'verifier_stale' || place === undefined) throw err
      return lists.check(place, now)
    }
  }

  // A token is good until just before exp (RFC 7519 section 4.1.4).
  function inTime({ exp, nbf = 0, iat = 0 }, now) {
    if (now >= (exp + o.leeway) * 1000) throw new Refusal('jwt_expired')
    if (now < Math.max(nbf - o.leeway, iat - o.leeway - iatGrace) * 1000) throw new Refusal('jwt_not_yet_valid')
  }

  async function verify(token, { at: now = Date.now(), prove } = {}) {
    if (typeof token !== 'string') throw new Refusal('jwt_malformed')
    if (token.length > o.maxLength) throw new Refusal('jwt_too_long')
    let known = memory.get(await keys.get(), token)
    if (known === undefined) known = await read(token, now)
    else inTime(known.claims, now)
    if (o.feed) await lives(known, now)
    // Who stole a token that is bound to a key has no key: it must not count as
    // one that needs none (RFC 9449 section 7.1).
    const { cnf } = known.claims
    if (cnf === undefined) {
      if (prove) throw new Refusal('token_unbound')
    } else if (!prove || !isText(cnf.jkt)) throw new Refusal('token_bound')
    else await prove(cnf.jkt)
    return known.claims
  }

  return Object.assign(verify, {
    ready,
    close: () => stop.abort(),
    state: () => ({ head: ended.head, at: ended.head && new Date(ended.at), endings: ended.size }),
  })
}

const isText = (v) => typeof v === 'string' && v !== ''

/**
 * A request listener for node:http, and a handler for Express, that calls
 * handler(req, res, claims) for requests with a token that counts and answers
 * all others with a problem (RFC 9457).
 * @type {typeof import('./index.js').guard}
 */
export function guard(verify, handler, { proofs } = {}) {
  return async (req, res, next) => {
    let claims
    try {
      const { token, proves } = presented(req, proofs)
      if (proofs && (proves || req.headers.dpop !== undefined)) tell(res, proofs)
      claims = await verify(token, proves ? { prove: (jkt) => proofs.check(req, token, jkt) } : {})
    } catch (err) {
      if (err instanceof Refusal) return refuse(res, err, proofs)
      if (next) return next(err)
      // Thrown from here it would end the process.
      return refuse(res, { status: 500, message: 'Something went wrong on our side.', code: 'internal' })
    }
    return handler(req, res, claims, next)
  }
}

// A new nonce with each answer: so no request comes back for want of one but
// the first (RFC 9449 section 8.2).
function tell(res, proofs) {
  const nonce = proofs.nonce()
  if (nonce !== undefined) res.setHeader('DPoP-Nonce', nonce)
}

function presented(req, proofs) {
  const sent = req.rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'authorization')
  if (sent.length === 0) throw new Refusal('not_signed_in')
  if (sent.length > 1) throw new Refusal('ambiguous_credentials')
  const found = /^(Bearer|DPoP) +([^ ]+)$/i.exec(req.headers.authorization)
  const proves = found?.[1].toLowerCase() === 'dpop'
  if (found === null || (proves && !proofs)) throw new Refusal('unknown_credential')
  return { token: found[2], proves }
}

// What goes with status 401: the Go packages authn, access and dpop say the same.
function challenge(code, proofs) {
  if (code === 'not_signed_in') return 'Bearer'
  if (proofs && code === 'token_bound') return 'DPoP error="invalid_token"'
  if (/dpop/.test(code)) return proofs.challenge(code)
  return 'Bearer error="invalid_token"'
}

function refuse(res, { status, message: detail, code, hint = undefined, retryAfter = undefined }, proofs) {
  res.statusCode = status
  res.setHeader('Content-Type', 'application/problem+json')
  res.setHeader('Cache-Control', 'no-store')
  res.setHeader('X-Content-Type-Options', 'nosniff')
  if (retryAfter) res.setHeader('Retry-After', String(retryAfter))
  if (status === 401) res.setHeader('WWW-Authenticate', challenge(code, proofs))
  res.end(`${JSON.stringify({ type: 'about:blank', title: STATUS_CODES[status], status, detail, code, hint })}\n`)
}
