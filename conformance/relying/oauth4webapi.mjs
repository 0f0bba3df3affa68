// A site that speaks to the provider through oauth4webapi, with its default settings, as
// examples/node-web-app does through openid-client.
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'

const { ISSUER, CLIENT_ID, SECRET_FILE, PORT } = process.env
const site = `http://127.0.0.1:${PORT}`
const http = { [oauth.allowInsecureRequests]: true } // there is no certificate for loopback addresses
const issuer = new URL(ISSUER)
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, http))
const client = { client_id: CLIENT_ID }
const auth = oauth.ClientSecretBasic(readFileSync(SECRET_FILE, 'utf8').trim())
const keys = createRemoteJWKSet(new URL(as.jwks_uri))
const sessions = new Map()

const of = (req) => sessions.get(/(?:^|; )session4=([^;]+)/.exec(req.headers.cookie ?? '')?.[1])
const redirect = (res, to) => res.writeHead(303, { Location: String(to) }).end()

async function info(s) {
  return oauth.processUserInfoResponse(as, client, s.sub, await oauth.userInfoRequest(as, client, s.tokens.access_token, http))
}

const pages = {
  'GET /': (req, res) => res.end(of(req)?.name ?? 'nobody'),

  async 'GET /signin'(req, res) {
    const id = randomUUID()
    const s = { state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce(), verifier: oauth.generateRandomCodeVerifier() }
    sessions.set(id, s)
    res.setHeader('Set-Cookie', `session4=${id}; Path=/; HttpOnly; SameSite=Lax`)
    const to = new URL(as.authorization_endpoint)
    to.search = new URLSearchParams({
      client_id: CLIENT_ID, redirect_uri: `${site}/callback`, response_type: 'code', scope: 'openid profile offline_access', state: s.state,
      nonce: s.nonce, code_challenge: await oauth.calculatePKCECodeChallenge(s.verifier), code_challenge_method: 'S256',
    })
    redirect(res, to)
  },

  async 'GET /callback'(req, res, url) {
    const s = of(req)
    const params = oauth.validateAuthResponse(as, client, url, s.state)
    const answer = await oauth.authorizationCodeGrantRequest(as, client, auth, params, `${site}/callback`, s.verifier, http)
    s.tokens = await oauth.processAuthorizationCodeResponse(as, client, answer, { expectedNonce: s.nonce, requireIdToken: true })
    const claims = oauth.getValidatedIdTokenClaims(s.tokens)
    Object.assign(s, { sub: claims.sub, sid: claims.sid, proof: s.tokens.id_token })
    s.name = (await info(s)).name
    redirect(res, '/')
  },

  async 'GET /profile'(req, res) {
    const s = of(req)
    if (!s?.sub) return res.writeHead(401).end('nobody')
    const answer = await oauth.refreshTokenGrantRequest(as, client, auth, s.tokens.refresh_token, http)
    s.tokens = await oauth.processRefreshTokenResponse(as, client, answer)
    const me = await info(s)
    res.end(`${me.sub} ${me.name}`)
  },

  'POST /signout'(req, res) {
    const s = of(req)
    const to = new URL(as.end_session_endpoint)
    to.search = new URLSearchParams({ id_token_hint: s.proof, post_logout_redirect_uri: `${site}/` })
    for (const [id, other] of sessions) if (other === s) sessions.delete(id)
    redirect(res, to)
  },

  async 'POST /backchannel-logout'(req, res) {
    let body = ''
    for await (const chunk of req) body += chunk
    const { payload } = await jwtVerify(new URLSearchParams(body).get('logout_token'), keys, { issuer: as.issuer, audience: CLIENT_ID, typ: 'logout+jwt' })
    for (const [id, s] of sessions) if (s.sub && (payload.sid ? s.sid === payload.sid : s.sub === payload.sub)) sessions.delete(id)
    res.end()
  },
}

createServer(async (req, res) => {
  const url = new URL(req.url, site)
  try {
    await pages[`${req.method} ${url.pathname}`](req, res, url)
  } catch (err) {
    console.error(err)
    res.writeHead(500).end(String(err))
  }
}).listen(Number(PORT), '127.0.0.1', () => console.log(`serving ${site}`))
