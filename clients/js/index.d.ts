import type { IncomingMessage, ServerResponse } from 'node:http'

/** What a verifier demands of tokens, and where it hears what has ended. */
export interface Options<Own = {}> {
  /** The issuer: iss is exactly this, and keys and feed are there. */
  issuer: string
  /** aud names one of these. */
  audience: string | string[]
  /** Where the feed is, and an API key or access token with the scope "feed"; a function is asked at each connection. */
  feed?: { token: string | (() => string | Promise<string>); url?: string | URL }
  /** The issuer's JWK set, or its address: /oauth/jwks unless set. */
  jwks?: string | URL | { keys: object[] }

  // Rare choices. Times are in seconds.

  /** Accepted algorithms, all with a public key: ES256, EdDSA and RS256 unless set. */
  algorithms?: Algorithm[]
  /** typ is this: "at+jwt" unless set. */
  type?: string
  /** Added to exp and taken from nbf, for clocks that differ: 0 unless set, at most 300. */
  leeway?: number
  /** The longest token in characters: 16,384 unless set. */
  maxLength?: number
  /** How many tokens that were verified before are remembered: 10,000 unless set. */
  remember?: number
  /** How old the latest news may be, or a status list in its place, until nothing can be told: 60 unless set. */
  bound?: number
  /** After how long the keys are looked for again: 600 unless set. */
  maxAge?: number
  /** For how long keys that cannot be renewed are still used: 86,400 unless set. */
  maxStale?: number
  /** The least time between two fetches of the keys: 10 unless set. */
  coolDown?: number
  /** How claims of your own must look. Others are passed on as they are. */
  claims?: { [Name in keyof Own]: ClaimType<Own[Name]> }
  /** Told why keys or feed could not be had, before they are tried again: for the log. */
  onError?: (err: Error) => void

  /** Without a feed a session that has ended lives on until its tokens expire. */
  insecureNoFeed?: boolean
  /** Tokens count while there is no news: who cuts the feed keeps what was taken from him. */
  insecureWhenStale?: boolean
  /** Takes keys and news over plain HTTP off loopback: who is in between signs as he likes. */
  insecureAllowHTTP?: boolean
}

export type Algorithm = 'RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'Ed25519'

/** The name of how a claim looks. A date is in seconds since 1970. */
export type ClaimType<T> =
  T extends string ? 'string'
  : T extends boolean ? 'boolean'
  : T extends number ? 'integer' | 'date'
  : T extends readonly string[] ? 'strings'
  : 'object'

/** A client that acts for somebody: sub is its client_id. */
export type Actor = Readonly<{ sub: string; act?: Actor }>

/** The claims of a verified token (RFC 9068, and admit's own). They are frozen: who presents the same token shares them. */
export type Claims<Own = {}> = Readonly<{
  iss: string
  aud: string | readonly string[]
  exp: number
  sub: string
  iat?: number
  nbf?: number
  jti?: string
  sid?: string
  gid?: string
  sev?: number
  client_id?: string
  scope?: string
  roles?: readonly string[]
  auth_time?: number
  acr?: string
  amr?: readonly string[]
  /** Which client acts for the subject, and within it the one that has let it (RFC 8693): the token ends with each of them. */
  act?: Actor
  /** Where the issuer's status list tells of it: asked while there is no news. */
  status?: unknown
} & Partial<Own>>

export interface Verifier<Own = {}> {
  /**
   * Resolves with the claims of a token that counts now, or rejects with a Refusal. With prove, only a token that is bound to a key
   * counts, and prove is called with that key's thumbprint.
   */
  (token: string, options?: { at?: number; prove?: (jkt: string) => Promise<void> }): Promise<Claims<Own>>
  /** Resolves with the first news of the feed. */
  readonly ready: Promise<void>
  /** Stops following the feed. */
  close(): void
  /** Where in the feed the verifier stands, as of when, and how many endings it keeps. */
  state(): { head?: string; at?: Date; endings: number }
}

export function createVerifier<Own = {}>(options: Options<Own>): Verifier<Own>

/** Why a token does not count, or that nothing can be told of it (status 503). */
export class Refusal extends Error {
  /** Stable, for programs, such as "session_ended". */
  readonly code: string
  /** Of the HTTP answer: 401 or 503. */
  readonly status: 401 | 503
  readonly hint?: string
  /** When to try again, in seconds. */
  readonly retryAfter?: number
}

/** A request listener for node:http and a handler for Express: only requests with a token that counts reach the handler. */
export function guard<Own = {}>(
  verify: Verifier<Own>,
  handler: (req: IncomingMessage, res: ServerResponse, claims: Claims<Own>, next?: (err?: unknown) => void) => unknown,
  /** With proofs, tokens that are bound to a key count too, in requests with the scheme DPoP. */
  options?: { proofs?: Proofs },
): (req: IncomingMessage, res: ServerResponse, next?: (err?: unknown) => void) => Promise<unknown>

/** Checks proofs of possession (DPoP, RFC 9449). */
export interface Proofs {
  /** Rejects with a Refusal unless the request proves that its sender has the key with this thumbprint: cnf.jkt of the verified token. */
  check(req: IncomingMessage, token: string, jkt: string, options?: { at?: number }): Promise<void>
  /** A nonce for the header DPoP-Nonce; undefined where none is demanded. */
  nonce(now?: number): string | undefined
  /** What WWW-Authenticate says of a refusal. */
  challenge(code: string): string
}

/** The origin is the service's as clients write it, such as "https://api.example.org"; a path in it goes before that of requests. */
export function createProofs(origin: string, options?: {
  /** ES256 and EdDSA unless set. */
  algorithms?: Algorithm[]
  /** How long a nonce is good, in seconds; without nonces, how old a proof may be: 60 unless set. */
  window?: number
  /** Of 32 bytes: several processes take each other's nonces. */
  nonceKey?: Uint8Array
  /** How many used proofs are remembered: 65,536 unless set. */
  maxReplays?: number
  /** The longest proof in characters: 4,096 unless set. */
  maxLength?: number
  /** Proofs can be made in advance, and the sender's clock must be right. */
  insecureNoNonce?: boolean
  /** The origin may be plain HTTP off loopback. */
  insecureAllowHTTP?: boolean
}): Proofs
