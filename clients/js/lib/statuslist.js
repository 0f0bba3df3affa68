import { Buffer } from 'node:buffer'
import { inflateSync } from 'node:zlib'
import { bounded } from './keys.js'
import { Refusal } from './refusal.js'
import { decode64 } from './text.js'

/** The type of the JWT that carries a list (draft-ietf-oauth-status-list-21). */
export const listType = 'statuslist+jwt'

const maxLists = 64
const maxToken = 2 << 20 // in bytes: room for maxBytes, in base64 twice
const maxBytes = 1 << 20 // however little there is to unpack

/** Where a claim "status" says that a token's status is; undefined where it names no list. */
export function placeOf(status) {
  const { idx, uri } = status?.status_list ?? {}
  return Number.isSafeInteger(idx) && idx >= 0 && typeof uri === 'string' ? { idx, uri } : undefined
}

/** The status at a place of a list's claim "status_list". */
export function statusAt({ bits, bytes }, idx) {
  const bit = idx * bits
  if (bit >= bytes.length * 8) throw new RangeError('the status list has no such place')
  return (bytes[Math.floor(bit / 8)] >> bit % 8) & (0xff >> (8 - bits)) // the lowest bits come first (section 4.1)
}

/** Unpacks a list. */
export function unpack({ bits, lst }) {
  const deflated = typeof lst === 'string' && decode64(lst)
  if (![1, 2, 4, 8].includes(bits) || !deflated) throw new TypeError('no status list')
  // A kilobyte could be unpacked to a megabyte, and that many to gigabytes.
  const { buffer: bytes, engine } = inflateSync(deflated, { maxOutputLength: maxBytes, info: true })
  if (bytes.length === 0 || engine.bytesWritten !== deflated.length) throw new TypeError('an empty status list, or something after it')
  return { bits, bytes }
}

/**
 * An issuer's status lists: what a verifier asks while there is no news, as Go's
 * package access does. A list is some seconds old where news is fresh, and says
 * nothing of epochs; but it can come by another way, such as a cache of the
 * network's.
 */
export class Lists {
  #base
  #bound
  #read
  #known = new Map() // address → {list, until, next, flight, failed}

  /** Base is what their addresses begin with; read gives the claims of a token of listType that the issuer has signed. */
  constructor(base, bound, read) {
    this.#base = base
    this.#bound = bound
    this.#read = read
  }

  /** Rejects with why a token with its status at this place does not count as of now, or that it cannot be told. */
  async check({ idx, uri }, now) {
    let status
    try {
      // Who has an issuer's key must not have us ask around in our own network.
      if (!uri.startsWith(this.#base)) throw new TypeError(`a status list elsewhere: ${uri}`)
      status = statusAt(await this.#get(uri, now), idx)
    } catch (cause) {
      throw new Refusal('verifier_stale', cause)
    }
    if (status !== 0) throw new Refusal('session_ended')
  }

  // One fetch of a list is under way at a time. A list that still counts serves
  // meanwhile.
  async #get(uri, now) {
    let one = this.#known.get(uri)
    if (one === undefined) {
      if (this.#known.size >= maxLists) this.#known.clear()
      this.#known.set(uri, one = { until: -Infinity, next: -Infinity })
    }
    if (!one.flight && performance.now() >= one.next) one.flight = this.#renew(one, uri).finally(() => { one.flight = undefined })
    if (now >= one.until) await one.flight
    if (now >= one.until) throw new Error('no status list that is new enough', { cause: one.failed })
    return one.list
  }

  async #renew(one, uri) {
    let pause = this.#bound / 2 // twice within the bound, or as often as the issuer says
    try {
      const answer = await fetch(uri, {
        headers: { accept: `application/${listType}` },
        redirect: 'error',
        signal: AbortSignal.timeout(2000), // requests wait for it
      })
      const token = (await bounded(answer, maxToken)).toString('latin1')
      const { sub, iat, exp = Infinity, ttl = 0, status_list: list } = await this.#read(token)
      if (sub !== uri) throw new TypeError(`the status list of ${sub}`)
      if (iat === undefined || list === undefined) throw new TypeError('a status list without iat or list')
      one.list = unpack(list)
      // It cannot be newer than now, whatever the issuer's clock says.
      one.until = Math.min(Math.min(iat * 1000, Date.now()) + this.#bound, exp * 1000)
      one.failed = undefined
      if (ttl > 0) pause = Math.min(pause, ttl * 1000)
    } catch (err) {
      one.failed = err
      pause = Math.min(pause, 2000)
    }
    one.next = performance.now() + Math.max(pause, 1000)
  }
}
