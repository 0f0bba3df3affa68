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
  const [subject, ...ended] = await Promise.all(
    [['sub', claims.sub], ...ids.filter(([, id]) => id)].map(([kind, id]) => id && digest(kind, id)),
  )
  return { ended, subject, sev: claims.sev ?? 0 }
}

const minute = 60_000

/**
 * What has ended, as far as a feed has told: Go's revocation.Set. It is kept
 * until every token that could name it has expired by itself.
 */
export class Ended {
  #ended = new Map() // digest → until
  #raised = new Map() // digest of a subject → {sev, until}
  #everyone = { sev: 0, until: 0 }
  #due = new Map() // minute → the digests that may be forgotten after it
  head // where in the feed this stands
  at = -Infinity // the issuer's time of the latest news

  constructor(bound, failOpen) {
    this.bound = bound
    this.failOpen = failOpen
  }

  get size() {
    return this.#ended.size + this.#raised.size
  }

  hear({ head, at, reset, events }) {
    if (reset) {
      for (const kept of [this.#ended, this.#raised, this.#due]) kept.clear()
      this.#everyone = { sev: 0, until: 0 }
    }
    for (const e of events) this.#add(e)
    this.head = head
    this.at = at
    this.#sweep()
  }

  #add({ kind, digest, sev, until }) {
    const raise = (r) => ({ sev: Math.max(r?.sev ?? 0, sev), until: Math.max(r?.until ?? 0, until) })
    if (kind === 'everyone') {
      this.#everyone = raise(this.#everyone)
      return
    }
    if (kind === 'sub') this.#raised.set(digest, raise(this.#raised.get(digest)))
    else this.#ended.set(digest, Math.max(this.#ended.get(digest) ?? 0, until))
    const due = Math.floor(until / minute) + 1
    if (!this.#due.has(due)) this.#due.set(due, [])
    this.#due.get(due).push(digest)
  }

  #sweep() {
    for (const [due, digests] of this.#due) {
      if (due * minute > this.at) continue
      for (const d of digests) {
        // It may have been told again, for longer.
        if ((this.#ended.get(d) ?? Infinity) < this.at) this.#ended.delete(d)
        if ((this.#raised.get(d)?.until ?? Infinity) < this.at) this.#raised.delete(d)
      }
      this.#due.delete(due)
    }
    if (this.#everyone.until < this.at) this.#everyone = { sev: 0, until: 0 }
  }

  /** Throws why a token does not count as of now, in milliseconds. */
  check({ ended, subject, sev }, now) {
    for (const d of ended) {
      if (this.#ended.has(d)) throw new Refusal('session_ended')
    }
    if (sev < this.#everyone.sev || sev < (this.#raised.get(subject)?.sev ?? 0)) throw new Refusal('stale_claims')
    // When news was sent counts: a proxy may have held it back.
    if (now - this.at > this.bound && !this.failOpen) throw new Refusal('verifier_stale')
  }
}
