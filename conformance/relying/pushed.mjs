// A client that speaks through openid-client: it pushes its requests, signs them, or does
// both, as it is told. It writes where to send a browser, reads where that came back, and
// writes whom it has signed in.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { importJWK } from 'jose'
import * as client from 'openid-client'

const { ISSUER, CLIENT_ID, HOW, KEY_FILE, SECRET_FILE, REDIRECT } = process.env
const jwk = KEY_FILE && JSON.parse(readFileSync(KEY_FILE, 'utf8'))
const key = jwk && { key: await importJWK(jwk, jwk.alg), kid: jwk.kid }
const auth = key ? client.PrivateKeyJwt(key) : client.ClientSecretBasic(readFileSync(SECRET_FILE, 'utf8').trim())
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, undefined, auth, {
  execute: [client.allowInsecureRequests], // there is no certificate for loopback addresses
})

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const verifier = client.randomPKCECodeVerifier()
const [state, nonce] = [client.randomState(), client.randomNonce()]
let params = new URLSearchParams({
  redirect_uri: REDIRECT, scope: 'openid profile', state, nonce, max_age: '3600',
  code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  claims: JSON.stringify({ id_token: { name: { essential: true } } }),
})
let to
if (HOW.includes('sign')) {
  to = await client.buildAuthorizationUrlWithJAR(config, params, key)
  params = to.searchParams
}
if (HOW.includes('push')) to = await client.buildAuthorizationUrlWithPAR(config, params)
console.log(to.href)
const { value } = await lines.next()
const tokens = await client.authorizationCodeGrant(config, new URL(value), {
  pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, maxAge: 3600,
})
console.log(JSON.stringify(tokens.claims()))
process.exit(0)
