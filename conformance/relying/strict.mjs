// What openid-client and oauth4webapi check where they are told to be strict. Each line of
// stdin is a client; the answer is a line that says what to open in a browser, and, once
// the next line of stdin tells where that led to, one that says what came of it.
import { createInterface } from 'node:readline'
import { importJWK } from 'jose'
import * as oauth from 'oauth4webapi'
import * as oidc from 'openid-client'

const http = { [oauth.allowInsecureRequests]: true } // there is no certificate for loopback addresses
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const next = async () => JSON.parse((await lines.next()).value)
const say = (what) => console.log(JSON.stringify(what))

async function authOf(c) {
  switch (c.auth) {
    case 'basic': return [oidc.ClientSecretBasic(c.secret), oauth.ClientSecretBasic(c.secret)]
    case 'post': return [oidc.ClientSecretPost(c.secret), oauth.ClientSecretPost(c.secret)]
    case 'none': return [oidc.None(), oauth.None()]
    case 'jwt': {
      const key = { key: await importJWK(c.key, c.key.alg), kid: c.key.kid }
      return [oidc.PrivateKeyJwt(key), oauth.PrivateKeyJwt(key)]
    }
  }
}

async function signIn(c) {
  const [auth, plain] = await authOf(c)
  const config = await oidc.discovery(new URL(c.issuer), c.id, { id_token_signed_response_alg: c.alg, require_auth_time: true, default_max_age: 3600 }, auth, {
    execute: [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks],
  })
  const check = { pkceCodeVerifier: oidc.randomPKCECodeVerifier(), expectedState: oidc.randomState(), expectedNonce: oidc.randomNonce(), idTokenExpected: true, maxAge: 3600 }
  say({
    open: oidc.buildAuthorizationUrl(config, {
      redirect_uri: c.redirect, scope: 'openid profile offline_access', state: check.expectedState, nonce: check.expectedNonce, max_age: '3600',
      code_challenge: await oidc.calculatePKCECodeChallenge(check.pkceCodeVerifier), code_challenge_method: 'S256', ...(c.mode && { response_mode: c.mode }),
    }),
  })
  const led = await next()
  const answer = led.body === undefined ? new URL(led.to) : new Request(led.to, { method: 'POST', body: new URLSearchParams(led.body) })
  const tokens = await oidc.authorizationCodeGrant(config, answer, check)
  const { sub, sid, auth_time: at } = tokens.claims()
  const again = await oidc.refreshTokenGrant(config, tokens.refresh_token)
  const info = await oidc.fetchUserInfo(config, again.access_token, sub)
  const result = { name: info.name, alg: oauth4(tokens.id_token).alg, sid: Boolean(sid), at: Boolean(at) }

  if (c.auth !== 'none') {
    // What there is to know of a token, and that it is of no use once it is given back.
    const as = config.serverMetadata()
    const client = { client_id: c.id }
    const ask = async (token) => oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, plain, token, http))
    const before = await ask(again.access_token)
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, plain, again.refresh_token, http))
    const after = await ask(again.access_token)
    Object.assign(result, { before: before.active && before.sub === sub && before.client_id === c.id, after: after.active })
  }
  result.refused = await oidc.refreshTokenGrant(config, c.auth === 'none' ? 'adm_r_guess' : again.refresh_token).catch((err) => err.error)
  return result
}

const oauth4 = (jwt) => JSON.parse(Buffer.from(jwt.split('.')[0], 'base64url'))

for (;;) {
  const { value, done } = await lines.next()
  if (done) break
  await signIn(JSON.parse(value)).then((result) => say({ result }), (err) => say({ failed: `${err} ${err.code ?? ''} ${err.error ?? ''} ${err.error_description ?? ''} ${err.cause ?? ''}` }))
}
