import { decode64, fold, members } from './text.js'
import { Refusal } from './refusal.js'

/** The parts of a compact JWS, decoded; nothing in it counts yet. */
export function split(token) {
  const parts = token.split('.', 6)
  if (parts.length === 5 && token[0] !== '{') throw new Refusal('jwt_encrypted')
  if (parts.length !== 3 || parts[0] === '' || parts[2] === '') throw new Refusal('jwt_malformed')
  const [header, payload, signature] = parts.map(decode64)
  if (!header || !payload || !signature) throw new Refusal('jwt_malformed')
  return { header, payload, signature, input: token.slice(0, token.lastIndexOf('.')) }
}

const headerNames = new Set(['alg', 'kid', 'typ', 'cty', 'jwk', 'crit', 'b64', 'enc', 'zip'])

/**
 * The header parameters that count. Keys that it brings along (jwk, jku, x5u,
 * x5c) are passed over: an attacker brings his own. Only a proof asks for its
 * jwk.
 */
export function readHeader(bytes) {
  let all
  try {
    all = members(bytes)
  } catch (cause) {
    throw new Refusal('jwt_malformed', cause)
  }
  const header = {}
  for (const [name, { value }] of all) {
    if (name === 'crit' || name === 'b64') throw new Refusal('jwt_critical') // no extension is supported
    if (name === 'enc' || name === 'zip') throw new Refusal('jwt_encrypted')
    if (!headerNames.has(name)) {
      if (headerNames.has(fold(name))) throw new Refusal('jwt_malformed')
      continue
    }
    if (typeof value !== 'string' && name !== 'jwk') throw new Refusal('jwt_malformed')
    header[name] = value
  }
  return header
}

/** A media type as RFC 7515 section 4.1.9 compares it. */
export function mediaType(type) {
  return fold(type).replace(/^application\/(?=[^/]+$)/, '')
}

const isText = (v) => typeof v === 'string'
const isTexts = (v) => Array.isArray(v) && v.every(isText)
const isObject = (v) => typeof v === 'object' && v !== null && !Array.isArray(v)
const isActor = (v) => isObject(v) && isText(v.sub) && (v.act === undefined || isActor(v.act)) // RFC 8693 section 4.1
const lastSecond = 253402300799 // of the year 9999

// How a claim must look. Raw is its text: numbers have many spellings.
const types = {
  string: isText,
  strings: isTexts,
  audience: (v) => isText(v) || isTexts(v),
  boolean: (v) => typeof v === 'boolean',
  integer: (v, raw) => /^-?\d+$/.test(raw) && Number.isSafeInteger(v),
  epoch: (v, raw) => /^\d+$/.test(raw) && Number.isSafeInteger(v),
  date: (v, raw) => /^\d{1,12}(?:\.\d{1,18})?$/.test(raw) && Math.floor(v) <= lastSecond,
  any: () => true,
  object: isObject,
  actor: isActor,
}

const registered = {
  iss: 'string', sub: 'string', aud: 'audience', exp: 'date', nbf: 'date', iat: 'date', jti: 'string',
  sid: 'string', gid: 'string', sev: 'epoch', client_id: 'string', scope: 'string', roles: 'strings',
  auth_time: 'date', acr: 'string', amr: 'strings', cnf: 'object', act: 'actor', status: 'any',
}

/** How all claims must look that are known here: admit's own, and those that the service names. */
export function claimTypes(own = {}) {
  const known = new Map(Object.entries(registered))
  for (const [name, type] of Object.entries(own)) {
    if (!Object.hasOwn(types, type)) throw new TypeError(`claim ${name}: there is no type ${type}`)
    if ([...known.keys()].some((k) => fold(k) === fold(name))) throw new TypeError(`claim ${name} is known already`)
    known.set(name, type)
  }
  return { known, folded: new Set([...known.keys()].map(fold)) }
}

/**
 * The claims of a payload. What is not known is passed on as it is, but for a
 * name that differs from a known one by its case alone: it is there to be
 * mistaken.
 */
export function readClaims(bytes, { known, folded }) {
  const claims = Object.create(null)
  try {
    for (const [name, { value, raw }] of members(bytes)) {
      const type = known.get(name)
      if (type === undefined ? folded.has(fold(name)) : !types[type](value, raw)) throw new SyntaxError(`claim ${name}`)
      claims[name] = value
    }
  } catch (cause) {
    throw new Refusal('jwt_claims', cause)
  }
  return Object.freeze(claims)
}
