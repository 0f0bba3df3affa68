import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { createVerifier } from '../index.js'
import { algorithms, KeySet, RemoteKeys, subtle } from '../lib/keys.js'
import { audience, code, startIssuer, until } from '../testdata/issuer.js'

const all = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']

const verifier = (url, o) => createVerifier({ issuer: url, audience, insecureNoFeed: true, ...o })

test('tokens that Go has signed are verified, with every algorithm', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  for (const alg of all) await issuer.order('keys/add', { alg, kid: `of ${alg}` })
  for (const alg of all) {
    const token = await issuer.sign({ roles: ['é'] }, { alg })
    assert.deepEqual((await verifier(issuer.url, { algorithms: all })(token)).roles, ['é'], alg)
    assert.equal(await code(verifier(issuer.url, { algorithms: all.filter((a) => a !== alg) })(token)), 'jwt_algorithm', alg)
  }
  assert.equal(await code(verifier(issuer.url, { algorithms: ['Ed25519'] })(await issuer.sign({}, { alg: 'EdDSA' }))), '')
  assert.equal(await code(verifier(issuer.url)(await issuer.sign({}, { typ: 'application/at+JWT' }))), '')
})

test('a key rotates without a refusal, and one that is taken back ends what was remembered', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const verify = verifier(issuer.url, { coolDown: 0, maxAge: 0.05 })
  const old = await issuer.sign()
  assert.equal(await code(verify(old)), '')
  await issuer.order('keys/add', { alg: 'ES256', kid: 'k2' })
  const fresh = await issuer.sign()
  assert.equal(await code(verify(fresh)), '') // an unknown kid is looked for
  assert.equal(await code(verify(old)), '')
  await issuer.order('keys/drop', { kid: 'k1' })
  await until('the refusal', async () => (await code(verify(old))) === 'jwt_key_unknown')
  assert.equal(await code(verify(fresh)), '')
})

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

test('with nothing to serve the cool-down is a second at most, and a key that is taken back knows none', async (t) => {
  const keys = await startKeys(t)
  keys.away = true
  const remote = keys.remote({ coolDown: 60 })
  await assert.rejects(remote.get())
  keys.away = false
  await assert.rejects(remote.get())
  assert.equal(keys.asked, 1)
  await pause(1050)
  assert.ok(await remote.get())
  await remote.get('other')
  assert.equal(keys.asked, 2)
  await Promise.all([remote.refresh(), remote.get()])
  assert.equal(keys.asked, 3)
})

// A key server that answers what it is told to.
async function startKeys(t) {
  const keys = { status: 200, headers: {}, body: '', asked: 0, held: undefined, away: false }
  const server = createServer(async (req, res) => {
    keys.asked++
    if (keys.away) return req.socket.destroy()
    await keys.held
    return res.writeHead(keys.status, keys.headers).end(keys.body)
  })
  keys.hold = () => { keys.held = new Promise((resolve) => { keys.release = resolve }) }
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => { server.closeAllConnections?.(); server.close() })
  keys.url = `http://127.0.0.1:${server.address().port}/`
  const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const { kty, crv, x, y } = await subtle.exportKey('jwk', pair.publicKey)
  keys.jwk = { kty, crv, x, y, kid: 'a' }
  keys.body = JSON.stringify({ keys: [keys.jwk] })
  keys.remote = (o) => new RemoteKeys(keys.url, algorithms(all), { coolDown: 0, maxAge: 60, maxStale: 60, onError() {}, ...o })
  return keys
}

test('keys are fetched once however many ask', async (t) => {
  const keys = await startKeys(t)
  const remote = keys.remote()
  keys.hold()
  const asking = Array.from({ length: 50 }, () => remote.get())
  await until('the request', () => keys.asked > 0)
  keys.release()
  assert.equal(new Set(await Promise.all(asking)).size, 1)
  assert.equal(keys.asked, 1)
})

test('made-up kids do not flood the issuer', async (t) => {
  const keys = await startKeys(t)
  const remote = keys.remote({ coolDown: 10 })
  for (let i = 0; i < 1000; i++) assert.ok(await remote.get(`made up ${i}`))
  assert.equal(keys.asked, 1)
})

test('keys that are old are renewed while they serve on', async (t) => {
  const keys = await startKeys(t)
  const remote = keys.remote({ maxAge: 3 })
  const first = await remote.get()
  await pause(3050)
  keys.hold()
  assert.equal(await remote.get(), first) // though the issuer has not answered
  await until('the renewal', () => keys.asked === 2)
  keys.release()
  await remote.refresh()
  assert.equal(await remote.get(), first) // the same text is the same set
  assert.equal(keys.asked, 3)
  await pause(6100) // twice as old, all wait
  keys.hold()
  const waiting = remote.get()
  await until('the renewal', () => keys.asked === 4)
  assert.equal(await Promise.race([waiting.then(() => 'served'), pause(100)]), undefined)
  keys.release()
  assert.equal(await waiting, first)
  keys.headers = { 'cache-control': 'public, max-age=5' }
  const short = keys.remote()
  await short.get()
  await short.get()
  assert.equal(keys.asked, 5) // less than a minute is not asked for
})

test('a verifier serves on while the issuer is away, up to a bound', async (t) => {
  const keys = await startKeys(t)
  const told = []
  const remote = keys.remote({ maxAge: 0, onError: (err) => told.push(err.code) })
  keys.away = true
  await assert.rejects(remote.get(), { code: 'jwt_keys_away', status: 503, retryAfter: 1 })
  keys.away = false
  const first = await remote.get()
  const good = keys.body
  for (const [name, trouble] of Object.entries({
    away: { away: true }, 'an error': { status: 500 }, 'nothing there': { status: 404 }, 'no content': { status: 204, body: undefined },
    'a redirect': { status: 302, headers: { location: keys.url } }, 'a page': { body: '<html>' }, 'no keys': { body: '{"keys":[]}' },
    'a set that says so twice': { body: `{"keys":[],${good.slice(1)}` }, 'no usable key': { body: '{"keys":[{"kty":"EC"},null,7]}' },
    'no set': { body: '[]' }, 'one key': { body: JSON.stringify(keys.jwk) }, 'too long': { body: good.replace('{', `{${' '.repeat(1 << 20)}`) },
    'too many': { body: JSON.stringify({ keys: Array(257).fill(keys.jwk) }) },
  })) {
    Object.assign(keys, { away: false, status: 200, headers: {}, body: good }, trouble)
    await assert.rejects(remote.refresh(), { code: 'jwt_keys_away' }, name)
    assert.equal(await remote.get('a'), first, name)
    // Whether there is such a key cannot be told just now.
    await assert.rejects(remote.get('other'), { code: 'jwt_keys_away' }, name)
  }
  assert.ok(told.length >= 27 && told.every((c) => c === 'jwt_keys_away'))
  Object.assign(keys, { away: false, status: 200, headers: {}, body: good })
  const short = keys.remote({ maxAge: 0, maxStale: 0.2 })
  await short.refresh()
  keys.away = true
  await pause(250)
  await assert.rejects(short.get(), { code: 'jwt_keys_away' })
})

test('a weak or malformed key is left out', async (t) => {
  const { jwk } = await startKeys(t)
  const b64 = (bytes) => Buffer.from(bytes).toString('base64url')
  const n = (bits, change = {}) => {
    const bytes = Buffer.alloc(bits / 8, 0xa5)
    return { kty: 'RSA', alg: 'RS256', e: 'AQAB', n: b64(bytes), ...change }
  }
  const kept = async (...keys) => (await KeySet.from([{ ...jwk, kid: 'good' }, ...keys], algorithms(all))).keys.length - 1
  for (const [name, key] of Object.entries({
    'RSA of 1024 bits': n(1024), 'RSA of 2047 bits': n(2048, { n: b64([0x7f, ...Buffer.alloc(255, 1)]) }), 'RSA of 16384 bits': n(16384),
    'RSA with e = 1': n(2048, { e: 'AQ' }), 'RSA with an even e': n(2048, { e: 'Ag' }), 'RSA with a huge e': n(2048, { e: b64(Buffer.alloc(9, 1)) }),
    'RSA with an exponent of 31 bits': n(2048, { e: b64([0x7f, 0xff, 0xff, 0xff]) }), 'RSA with an exponent of 24 bits': n(2048, { e: b64([0x7f, 0xff, 0xff]) }),
    'RSA with a leading zero': n(2048, { e: 'AAEAAQ' }), 'an even modulus': n(2048, { n: b64(Buffer.alloc(256, 0xa4)) }),
    'RSA that does not say its algorithm, of six': n(2048, { alg: undefined }),
    'a point that is not on the curve': { ...jwk, x: b64(Buffer.alloc(32)) }, 'a coordinate that is too short': { ...jwk, x: b64(Buffer.alloc(31)) },
    'a second spelling': { ...jwk, x: `${jwk.x}=` }, 'another curve': { ...jwk, crv: 'P-384' }, 'a curve that is not offered': { ...jwk, crv: 'secp256k1' },
    'the algorithm of another curve': { ...jwk, alg: 'ES384' }, 'no algorithm of ours': { ...jwk, alg: 'none' }, 'a key for encryption': { ...jwk, use: 'enc' },
    'a key that may not verify': { ...jwk, key_ops: ['sign'] }, 'operations that are a string': { ...jwk, key_ops: 'verify' },
    'a kid that is a number': { ...jwk, kid: 1 }, 'a secret': { kty: 'oct', alg: 'HS256', k: b64(Buffer.alloc(32)) },
    'Ed25519 of 31 bytes': { kty: 'OKP', crv: 'Ed25519', x: b64(Buffer.alloc(31)) }, 'another type': { ...jwk, kty: 'ec' }, 'a private key': { ...jwk, d: b64(Buffer.alloc(32, 1)) },
  })) assert.equal(await kept(key), 0, name)
  assert.equal(await kept(n(2048), { ...jwk, key_ops: ['verify'], use: 'sig', alg: 'ES256' }), 2)
})
