// A site whose people sign in at admit by OpenID Connect, with openid-client:
//
//   admit serve --dev
//   (umask 077; admit client add --id node-web-app --name 'My site' --grant authorization_code,refresh_token \
//     --redirect http://127.0.0.1:8088/callback --post-logout http://127.0.0.1:8088/ \
//     --backchannel-logout http://127.0.0.1:8088/backchannel-logout > examples/node-web-app/secret)
//   cd examples/node-web-app && npm ci && node server.mjs
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oidc from 'openid-client'

const { ISSUER = 'http://localhost:8080', CLIENT_ID = 'node-web-app', SECRET_FILE = 'secret', PORT = '8088' } = process.env
const { URL: site = `http://127.0.0.1:${PORT}` } = process.env
const plain = site.startsWith('http://')

const config = await oidc.discovery(
  new URL(ISSUER), CLIENT_ID, readFileSync(SECRET_FILE, 'utf8').trim(), undefined,
  ISSUER.startsWith('http://') ? { execute: [oidc.allowInsecureRequests] } : undefined, // for development
)
const server = config.serverMetadata()
const keys = createRemoteJWKSet(new URL(server.jwks_uri))

// The sessions of this site, by the secret in the cookie: in memory, for one process.
const sessions = new Map()
const lifetime = 12 * 3600_000
const begunFor = 3600_000 // as long as the provider remembers a request
const cookie = plain ? CLIENT_ID : '__Host-session'

function sessionOf(req) {
  const pair = (req.headers.cookie ?? '').split('; ').find((c) => c.startsWith(`${cookie}=`))
  const s = sessions.get(pair?.slice(cookie.length + 1))
  return s?.until > Date.now() ? s : undefined
}

function begin(res, data) {
  for (const [id, s] of sessions) if (s.until <= Date.now()) sessions.delete(id)
  const id = randomBytes(24).toString('base64url')
  const s = { id, until: Date.now() + lifetime, begun: new Map(), ...data }
  sessions.set(id, s)
  res.setHeader('Set-Cookie', `${cookie}=${id}; Path=/; HttpOnly; SameSite=Lax${plain ? '' : '; Secure'}`)
  return s
}

function redirect(res, to) {
  res.writeHead(303, { Location: String(to) }).end()
}

class Refused extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

const text = (s) => String(s).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

const pages = {
  'GET /'(req, res) {
    const s = sessionOf(req)
    res.setHeader('Content-Type', 'text/html; charset=utf-8')
    res.end(`<!doctype html><html lang="en"><title>My site</title>\n${s?.sub
      ? `<p>Hello ${text(s.name)}. <a href="/profile">Your profile</a>\n<form method="post" action="/signout"><button>Sign out</button></form>`
      : '<p><a href="/signin">Sign in</a>'}\n`)
  },

  // Sends the browser to the provider. Each tab has a state of its own.
  async 'GET /signin'(req, res) {
    const s = sessionOf(req) ?? begin(res)
    const begun = { state: oidc.randomState(), nonce: oidc.randomNonce(), verifier: oidc.randomPKCECodeVerifier(), at: Date.now() }
    for (const [state, old] of s.begun) if (s.begun.size >= 8 || old.at < Date.now() - begunFor) s.begun.delete(state)
    s.begun.set(begun.state, begun)
    redirect(res, oidc.buildAuthorizationUrl(config, {
      redirect_uri: `${site}/callback`, scope: 'openid profile', state: begun.state, nonce: begun.nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(begun.verifier), code_challenge_method: 'S256',
    }))
  },

  // Takes the provider's answer.
  async 'GET /callback'(req, res, url) {
    const s = sessionOf(req)
    const begun = s?.begun.get(url.searchParams.get('state'))
    // Who put a code of his own into somebody's browser would sign that one in as himself.
    if (!begun) throw new Refused(400, 'This browser has not asked for that. Begin again.')
    s.begun.delete(begun.state) // an answer is good once
    if (url.searchParams.has('error')) throw new Refused(403, 'You were not let in.')
    const tokens = await oidc.authorizationCodeGrant(config, url, {
      pkceCodeVerifier: begun.verifier, expectedState: begun.state, expectedNonce: begun.nonce, idTokenExpected: true,
    })
    const { sub, sid } = tokens.claims()
    const info = await oidc.fetchUserInfo(config, tokens.access_token, sub)
    const name = info.name ?? info.preferred_username ?? sub // not everybody has told one
    sessions.delete(s.id) // a secret that was there before the sign-in is none
    begin(res, { begun: s.begun, sub, sid, name, tokens: keep(tokens), proof: tokens.id_token })
    redirect(res, '/')
  },

  // Asks the provider with the person's access token, as it would any other service.
  async 'GET /profile'(req, res) {
    const s = sessionOf(req)
    if (!s?.sub) throw new Refused(401, 'You are not signed in.')
    // Who asks twice at once refreshes twice with one token, and gets the same successor.
    if (s.tokens.until < Date.now() + 10_000) s.tokens = keep(await oidc.refreshTokenGrant(config, s.tokens.refresh))
    const info = await oidc.fetchUserInfo(config, s.tokens.access, s.sub)
    res.end(`${info.sub} ${info.name ?? ''}\n`)
  },

  // Ends the session here, and then the one at the provider.
  'POST /signout'(req, res) {
    if (req.headers['sec-fetch-site'] && !['same-origin', 'none'].includes(req.headers['sec-fetch-site'])) throw new Refused(403, 'That came from another site.')
    const s = sessionOf(req)
    if (!s?.sub) return redirect(res, '/')
    sessions.delete(s.id)
    redirect(res, oidc.buildEndSessionUrl(config, { id_token_hint: s.proof, post_logout_redirect_uri: `${site}/` }))
  },

  // Hears from the provider that a session has ended there (OpenID Connect Back-Channel Logout 1.0).
  async 'POST /backchannel-logout'(req, res) {
    let body = ''
    for await (const chunk of req) if ((body += chunk).length > 16_384) throw new Refused(413, 'That is too long.')
    const { payload } = await jwtVerify(new URLSearchParams(body).get('logout_token') ?? '', keys, {
      issuer: server.issuer, audience: CLIENT_ID, typ: 'logout+jwt', algorithms: server.id_token_signing_alg_values_supported,
      requiredClaims: ['iat', 'exp', 'jti'], maxTokenAge: '2m', clockTolerance: '30s',
    }).catch((err) => { throw new Refused(err.code === 'ERR_JWKS_TIMEOUT' ? 503 : 400, err.message) })
    const { events, nonce, sub, sid } = payload
    if (!events?.['http://schemas.openid.net/event/backchannel-logout'] || nonce !== undefined || !(sub || sid)) throw new Refused(400, 'This is no logout token.')
    // Without a sid it is every session of the person's.
    for (const [id, s] of sessions) if (s.sub && (sid ? s.sid === sid : s.sub === sub)) sessions.delete(id)
    res.end()
  },
}

function keep(tokens) {
  return { access: tokens.access_token, refresh: tokens.refresh_token, until: Date.now() + tokens.expiresIn() * 1000 }
}

createServer(async (req, res) => {
  const url = new URL(req.url, site)
  res.setHeader('Cache-Control', 'no-store')
  try {
    const page = pages[`${req.method} ${url.pathname}`]
    if (!page) throw new Refused(404, 'There is no such page.')
    await page(req, res, url)
  } catch (err) {
    if (!err.status) console.error(url.pathname, err)
    if (!res.headersSent) res.writeHead(err.status ?? 502)
    res.end(`${err.status ? err.message : 'That did not work. Try again.'}\n`)
  }
}).listen(Number(PORT), '127.0.0.1', () => console.log(`serving ${site}`))
