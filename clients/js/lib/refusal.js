// Why a token is refused: code → status, sentence, hint. Codes and sentences are
// those of the Go packages jose, revocation, access, dpop and authn.
const reasons = {
  jwt_malformed: [401, 'The token is not well-formed.'],
  jwt_too_long: [401, 'The token is too long.'],
  jwt_algorithm: [401, "The token's algorithm is not accepted here."],
  jwt_critical: [401, 'The token demands an extension that is not supported.'],
  jwt_type: [401, 'The token is of another type.'],
  jwt_key_unknown: [401, 'No accepted key has signed the token.'],
  jwt_signature: [401, "The token's signature is wrong."],
  jwt_encrypted: [401, 'An encrypted token is not accepted in place of a signed one.'],
  jwt_claims: [401, "The token's claims are not well-formed."],
  jwt_claim_missing: [401, 'A required claim is missing.'],
  jwt_expired: [401, 'The token has expired.'],
  jwt_not_yet_valid: [401, 'The token is not valid yet.'],
  jwt_issuer: [401, 'The token is from another issuer.'],
  jwt_audience: [401, 'The token is for another audience.'],
  session_ended: [401, 'This session has been ended.'],
  stale_claims: [401, 'What this token says is out of date.', 'Refresh it; the session may live on.'],
  token_bound: [401, 'This token counts only with a proof of the key that it is bound to.', 'Present it with DPoP.'],
  token_unbound: [401, 'This token is bound to no key, so that no proof belongs to it.', 'Present it as a bearer token.'],
  invalid_dpop_proof: [401, 'The proof that you have the key is missing or wrong.'],
  dpop_proof_replayed: [401, 'The proof that you have the key was used before.', 'Sign a new proof for each request.'],
  use_dpop_nonce: [401, 'The proof that you have the key must name the nonce that comes with this answer.', 'Sign a new proof with the nonce in the header DPoP-Nonce, and try again.'],
  dpop_other_key: [401, 'The token belongs to another key.'],
  not_signed_in: [401, 'You are not signed in.'],
  unknown_credential: [401, 'The Authorization header is not one that counts here.'],
  ambiguous_credentials: [401, 'The request carries credentials of different people, so none counts.'],
  // A client throws its token away on 401. Where nothing can be told, it must not.
  jwt_keys_away: [503, "The issuer's keys cannot be had just now."],
  dpop_busy: [503, 'Too many proofs come in to tell whether this one was used before.', 'Sign a new proof and try again.'],
  verifier_stale: [503, 'It cannot be told just now whether this token still counts.'],
}

/** The answer to a token that does not count, or of which nothing can be told. */
export class Refusal extends Error {
  constructor(code, cause) {
    const [status, text, hint] = reasons[code]
    super(text, cause === undefined ? undefined : { cause })
    this.name = 'Refusal'
    this.code = code
    this.status = status
    this.hint = hint
    this.retryAfter = status === 503 ? 1 : undefined
  }
}
