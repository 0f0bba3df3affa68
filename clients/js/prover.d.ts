export interface Prover {
  /** Sends a request with a proof. A token that is bound to the key stands in Authorization, after "DPoP ". Where a nonce is asked for, the request is sent once more. */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>
  /** A proof for one request; most programs use fetch. */
  proof(method: string, url: string | URL, token?: string): Promise<string>
  /** cnf.jkt of the tokens that are bound to the key. */
  readonly thumbprint: string
  /** No script can read the private one. Keep both in IndexedDB, which takes them as they are. */
  readonly keys: CryptoKeyPair
}

/** Makes a prover with a fresh key for ES256, or with those of an earlier one. */
export function createProver(options?: { keys?: CryptoKeyPair }): Promise<Prover>
