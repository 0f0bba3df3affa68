import { Buffer } from 'node:buffer'
import { subtle } from './keys.js'
import { Refusal } from './refusal.js'

/** A feed's name of an id: SHA-256 of "kind:id", cut to 16 bytes, in base64url. */
async function digest(kind, id) {
  const sum = await subtle.digest('SHA-256', Buffer.from(`${kind}:${id}`))
  return Buffer.from(sum, 0, 16).toString('base64url')
}

/** What a token can be ended by, as a feed names it; made once for a token. */
export async function namesOf(claims, kid) {
  const ids = [['sid', claims.sid], ['gid', claims.gid], ['jti', claims.jti], ['client_id', claims.client_id], ['kid', kid]]
  for (let by = claims.act; by; by = by.act) ids.push(['client_id', by.sub]) // clients that it was handed on by
  const [subject, ...ended] = await Promise.all(
    [['sub', claims.sub], ...ids.filter(([, id]) => id)].map(([kind, id]) => id && digest(kind, id)),
  )
  return { ended, subject, sev: claims.sev ?? 0 }
}

const minute = 60_000
// How much longer an ending is kept than the issuer says: a verifier may allow
// five minutes of leeway, and its clock may be behind.
const grace = 6 * minute
const nothing = { sev: 0, until: 0 }

/**
 * What has ended, as far as a feed has told: Go's revocation.Set. It is kept
 * until every token that could name it has expired by itself.
 */
export class Ended {
  #ended = new Map() // digest → until
  #raised = new Map() // digest of a subject → {sev, until}
  #everyone = nothing
  #due = new Map() // minute → the digests that may be forgotten in it
  #swept = 0 // the last such minute
  #heard = -Infinity // when the latest news came
  head // where in the feed this stands
  at = -Infinity // as of when it is the whole truth

  constructor(bound, failOpen) {
    this.bound = bound
    this.failOpen = failOpen
  }

  get size() {
    return this.#ended.size + this.#raised.size
  }

  hear({ head, at, reset, events }, now = Date.now()) {
    // News cannot be newer than now: an issuer whose clock is ahead must not have
    // us trust it for longer, or forget too soon.
    this.at = Math.min(at, now)
    this.#heard = now
    if (reset) this.#reset(head.slice(0, 16) === this.head?.slice(0, 16))
    for (const e of events) this.#add(e)
    this.head = head
    this.#sweep()
  }

  // Forgets all but what a snapshot leaves out because no token can name it any
  // more, and we keep nevertheless. Epochs count in their own feed alone.
  #reset(same) {
    const [ended, raised, everyone] = [this.#ended, this.#raised, this.#everyone]
    this.#ended = new Map()
    this.#raised = new Map()
    this.#everyone = nothing
    this.#due = new Map()
    const left = (until) => until - grace <= this.at && this.at < until
    for (const [d, until] of ended) if (left(until)) this.#keep(this.#ended, d, until, until)
    if (!same) return
    for (const [d, r] of raised) if (left(r.until)) this.#keep(this.#raised, d, r, r.until)
    if (left(everyone.until)) this.#everyone = everyone
  }

  #add({ kind, digest, sev, until }) {
    const end = until + grace
    const raise = (r) => ({ sev: Math.max(r.sev, sev), until: Math.max(r.until, end) })
    if (kind === 'everyone') this.#everyone = raise(this.#everyone)
    else if (kind === 'sub') this.#keep(this.#raised, digest, raise(this.#raised.get(digest) ?? nothing), end)
    else this.#keep(this.#ended, digest, Math.max(this.#ended.get(digest) ?? 0, end), end) // told again, perhaps for longer
  }

  #keep(map, digest, value, until) {
    map.set(digest, value)
    const due = Math.floor(until / minute) + 1
    const digests = this.#due.get(due)
    if (digests) digests.push(digest)
    else this.#due.set(due, [digest])
  }

  #sweep() {
    const now = Math.floor(this.at / minute)
    if (now <= this.#swept) return
    this.#swept = now
    for (const [due, digests] of this.#due) {
      if (due > now) continue
      for (const d of digests) {
        if ((this.#ended.get(d) ?? Infinity) <= this.at) this.#ended.delete(d)
        if ((this.#raised.get(d)?.until ?? Infinity) <= this.at) this.#raised.delete(d)
      }
      this.#due.delete(due)
    }
    if (this.#everyone.until <= this.at) this.#everyone = nothing
  }

  /** Throws why a token does not count as of now, in milliseconds. */
  check({ ended, subject, sev }, now) {
    for (const d of ended) {
      if (this.#ended.has(d)) throw new Refusal('session_ended')
    }
    if (sev < this.#everyone.sev || sev < (this.#raised.get(subject)?.sev ?? 0)) throw new Refusal('stale_claims')
    // When news was sent counts as well: a proxy may have held it back.
    if (now - Math.min(this.at, this.#heard) > this.bound && !this.failOpen) throw new Refusal('verifier_stale')
  }
}
