/**
 * Tokens that were verified before: at most about as many as it is made for,
 * and as many characters as 1,000 each, in two halves. What is used moves to the
 * young one; when that is full, the old one is dropped and it takes its place.
 * All are forgotten when the key set changes.
 */
export class Memory {
  #young = new Map()
  #old = new Map()
  #length = 0 // of the young half's tokens
  #set

  constructor(most) {
    this.most = most / 2
  }

  get(set, token) {
    if (set !== this.#set) return undefined
    const known = this.#young.get(token)
    if (known !== undefined) return known
    const old = this.#old.get(token)
    if (old !== undefined) this.put(set, token, old)
    return old
  }

  put(set, token, known) {
    if (this.most < 1) return
    if (set !== this.#set) {
      this.#set = set
      this.#old = new Map()
      this.#forget()
    }
    if (this.#young.size >= this.most || this.#length + token.length > 1000 * this.most) {
      this.#old = this.#young
      this.#forget()
    }
    this.#young.set(token, known)
    this.#length += token.length
  }

  #forget() {
    this.#young = new Map()
    this.#length = 0
  }
}
