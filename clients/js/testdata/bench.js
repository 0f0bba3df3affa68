// What a verification costs: node testdata/bench.js
import { Buffer } from 'node:buffer'
import { createServer } from 'node:http'
import { createVerifier } from '../index.js'
import { subtle } from '../lib/keys.js'

const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
const { kty, crv, x, y } = await subtle.exportKey('jwk', pair.publicKey)
const encode = (v) => Buffer.from(typeof v === 'object' && !(v instanceof ArrayBuffer) ? JSON.stringify(v) : v).toString('base64url')
const now = Math.floor(Date.now() / 1000)
const claims = {
  iss: 'https://auth.example.org', sub: '5Jb0Xq1yQZr2cVt8mLwN3A', aud: 'https://api.example.org', exp: now + 900, iat: now, jti: 'a5Jb0Xq1yQZr2cVt8mLwN3',
  sid: 'c5Jb0Xq1yQZr2cVt8mLwN3', gid: 'd5Jb0Xq1yQZr2cVt8mLwN3', sev: 7, client_id: 'shop', scope: 'orders:read orders:write', roles: ['admin', 'editor'],
  auth_time: now - 60, acr: 'urn:example:2', amr: ['pwd', 'otp'],
}
const sign = async (more) => {
  const input = `${encode({ alg: 'ES256', kid: 'k', typ: 'at+jwt' })}.${encode({ ...claims, ...more })}`
  return `${input}.${encode(await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, Buffer.from(input)))}`
}

// A feed with 100,000 endings.
const at = () => new Date().toISOString()
const head = '5f3a9c0e1b2d4f60-100000'
const events = Array.from({ length: 100_000 }, (_, i) => ({
  id: `5f3a9c0e1b2d4f60-${i + 1}`, kind: 'sid', digest: Buffer.from(String(i).padStart(16)).toString('base64url'), until: new Date(Date.now() + 9e5).toISOString(),
}))
const server = createServer((req, res) => {
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  res.write(`data: ${JSON.stringify({ head, at: at(), reset: true, events })}\n\n`)
  setInterval(() => res.write(`data: ${JSON.stringify({ head, at: at() })}\n\n`), 1000)
}).listen(0, '127.0.0.1')
await new Promise((resolve) => server.once('listening', resolve))
const begun = performance.now()
const verify = createVerifier({
  issuer: claims.iss, audience: claims.aud, jwks: { keys: [{ kty, crv, x, y, kid: 'k' }] }, feed: { token: 'k', url: `http://127.0.0.1:${server.address().port}` },
})
await verify.ready
console.log(`snapshot of 100,000 endings: ${(performance.now() - begun).toFixed(0)} ms`)

const token = await sign()
console.log(`a token of ${token.length} characters`)
const tokens = await Promise.all(Array.from({ length: 5000 }, (_, i) => sign({ jti: String(i) })))
for (const [name, n, call] of [
  ['verified before', 200_000, () => verify(token)],
  ['seen first', tokens.length, (i) => verify(tokens[i])],
  ['the signature alone', 5000, ((input, signature) => () => subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, pair.publicKey, signature, input))(
    Buffer.from(token.slice(0, token.lastIndexOf('.'))), Buffer.from(token.split('.')[2], 'base64url'))],
]) {
  const cpu = process.cpuUsage()
  const from = performance.now()
  for (let i = 0; i < n; i++) await call(i)
  const { user, system } = process.cpuUsage(cpu)
  console.log(`${name}: ${((performance.now() - from) * 1000 / n).toFixed(2)} µs, CPU ${((user + system) / n).toFixed(2)} µs`)
}
process.exit()
