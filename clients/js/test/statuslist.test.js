import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { deflateSync } from 'node:zlib'
import { createVerifier } from '../index.js'
import { subtle } from '../lib/keys.js'
import { placeOf, statusAt, unpack } from '../lib/statuslist.js'
import { audience, code, startIssuer, until } from '../testdata/issuer.js'

const generate = () => subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
const pair = await generate()
const { kty, crv, x, y } = await subtle.exportKey('jwk', pair.publicKey)
const jwk = { kty, crv, x, y, alg: 'ES256', kid: 'k' }
const encode = (v) => Buffer.from(JSON.stringify(v)).toString('base64url')
const seconds = () => Math.floor(Date.now() / 1000)

async function sign(typ, claims, key = pair.privateKey) {
  const input = `${encode({ alg: 'ES256', typ, kid: 'k' })}.${encode(claims)}`
  const signature = await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, Buffer.from(input))
  return `${input}.${Buffer.from(signature).toString('base64url')}`
}

const pack = (...bytes) => deflateSync(Buffer.from(bytes)).toString('base64url')
// In two bits each: place 1 is invalid, place 2 suspended.
const statuses = { bits: 2, lst: pack(0b00_10_01_00, 0) }
const list = (uri, claims = {}, key, typ = 'statuslist+jwt') => sign(typ, { sub: uri, iat: seconds(), status_list: statuses, ...claims }, key)

/** An issuer that serves status lists, and a verifier of its tokens that has no news. */
async function deaf(t, o) {
  const lister = { fetched: 0, serve: (uri) => list(uri) }
  const server = createServer(async (req, res) => {
    if (!req.url.startsWith('/status-lists/')) return res.writeHead(500).end()
    lister.fetched++
    const token = await lister.serve(lister.url + req.url)
    if (typeof token === 'string') res.end(token)
    else res.writeHead(500, token).end()
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  lister.url = `http://127.0.0.1:${server.address().port}`
  lister.at = `${lister.url}/status-lists/1`
  const verify = createVerifier({ issuer: lister.url, audience, jwks: { keys: [jwk] }, feed: { token: 'x', url: 'http://127.0.0.1:1/feed' }, ...o })
  t.after(() => { verify.close(); server.closeAllConnections?.(); server.close() })
  const token = (status) => sign('at+jwt', { iss: lister.url, aud: audience, sub: 'alice', iat: seconds(), exp: seconds() + 300, status })
  return { lister, verify, token, place: (idx, uri = lister.at) => token({ status_list: { idx, uri } }) }
}

test('a verifier without news asks the status list, once for all who wait', async (t) => {
  const { lister, verify, token, place } = await deaf(t)
  const cases = [
    ['one that is valid', await place(0), ''], ['one that is not', await place(1), 'session_ended'],
    ['one that is suspended', await place(2), 'session_ended'], ['a place that the list has not', await place(8), 'verifier_stale'],
    ['one that names no list', await token(), 'verifier_stale'], ['a status of another kind', await token({ identifier_list: { id: 'x' } }), 'verifier_stale'],
    ['a place that is no number', await place('0'), 'verifier_stale'], ['a place below the first', await place(-1), 'verifier_stale'], ['text', await token('x'), 'verifier_stale'],
  ]
  for (let i = 0; i < 2; i++) await Promise.all(cases.map(async ([name, text, want]) => assert.equal(await code(verify(text)), want, name)))
  assert.equal(lister.fetched, 1)
})

test('a list that is not the issuer’s of now says nothing', async (t) => {
  const { lister, verify, place } = await deaf(t)
  const stranger = (await generate()).privateKey
  let asked = false
  const other = createServer((req, res) => { asked = true; res.end() })
  await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve))
  t.after(() => other.close())
  const elsewhere = `http://127.0.0.1:${other.address().port}`
  let n = 1
  for (const [name, serve] of Object.entries({
    'a stranger’s': (uri) => list(uri, {}, stranger), 'an access token': (uri) => list(uri, {}, undefined, 'at+jwt'),
    'that of another place': (uri) => list(`${uri}0`), 'an old one': (uri) => list(uri, { iat: seconds() - 61 }),
    'one that has expired': (uri) => list(uri, { exp: seconds() - 1 }), 'one of no time': (uri) => list(uri, { iat: undefined }),
    'no list': (uri) => list(uri, { status_list: undefined }), nonsense: () => 'x', none: () => ({}), 'one far too long': () => 'a'.repeat(3 << 20),
    'a way elsewhere': () => ({ location: elsewhere }),
  })) {
    lister.serve = serve
    const text = await place(0, `${lister.at}${'1'.repeat(n++)}`)
    const fetched = lister.fetched
    for (let i = 0; i < 3; i++) await assert.rejects(verify(text), { code: 'verifier_stale', status: 503, retryAfter: 1 }, name)
    assert.equal(lister.fetched, fetched + 1, name)
  }
  for (const uri of [`${elsewhere}/status-lists/1`, lister.url, `${lister.url}.evil.example/1`, `${lister.url}@evil.example/1`, 'file:///etc/passwd', '/status-lists/1']) {
    const fetched = lister.fetched
    assert.equal(await code(verify(await place(0, uri))), 'verifier_stale', uri)
    assert.equal(lister.fetched, fetched, uri)
  }
  assert.ok(!asked)
})

test('a list serves while the issuer is away until it is as old as news may be', async (t) => {
  const { lister, verify, place } = await deaf(t, { bound: 3 })
  const text = await place(0)
  assert.equal(await code(verify(text)), '')
  const begun = performance.now()
  lister.serve = () => ({})
  await until('the doubt', async () => (await code(verify(text))) === 'verifier_stale')
  const took = performance.now() - begun
  assert.ok(took > 1500 && took < 4000, `a list counts for ${took} ms`)
  assert.ok(lister.fetched <= 5, `fetched ${lister.fetched} times while the issuer was away`)
  lister.serve = (uri) => list(uri, { iat: seconds() + 3600 }) // a clock that is ahead gains nothing
  await until('the list is back', async () => (await code(verify(text))) === '')
  assert.equal(await code(verify(text, { at: Date.now() + 4000 })), 'verifier_stale')
})

test('fresh news goes before the list', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const verify = createVerifier({ issuer: issuer.url, audience, feed: { token: 'feed-key' } })
  t.after(() => verify.close())
  await verify.ready
  assert.equal(await code(verify(await issuer.sign({ status: { status_list: { idx: 1, uri: `${issuer.url}/status-lists/1` } } }))), '')
})

test('lists are read as the draft packs them, and within bounds', () => {
  const statusesOf = (bits, lst) => {
    const l = unpack({ bits, lst })
    return Array.from({ length: (l.bytes.length * 8) / bits }, (_, i) => statusAt(l, i))
  }
  // draft-ietf-oauth-status-list-21, section 4.2
  assert.deepEqual(statusesOf(1, 'eNrbuRgAAhcBXQ'), [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1])
  assert.deepEqual(statusesOf(2, 'eNo76fITAAPfAgc'), [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3])
  assert.deepEqual(statusesOf(4, pack(0x21, 0xf0)), [1, 2, 0, 15])
  assert.deepEqual(statusesOf(8, pack(7, 255)), [7, 255])
  assert.throws(() => statusAt(unpack({ bits: 1, lst: pack(0) }), 8), RangeError)
  const bomb = deflateSync(Buffer.alloc((1 << 20) + 1)).toString('base64url')
  const twice = Buffer.concat([deflateSync(Buffer.from([0])), Buffer.from([0])]).toString('base64url')
  for (const lst of [bomb, twice, pack(), '', 'eNrbuRgAAhcBX', 'eNrbuRgAAhcBXQ==', 'eNrb\nuRgAAhcBXQ', 'AAAA', 7, undefined]) assert.throws(() => unpack({ bits: 1, lst }), `${lst}`.slice(0, 40))
  for (const bits of [0, 3, 16, '1', undefined]) assert.throws(() => unpack({ bits, lst: 'eNrbuRgAAhcBXQ' }))
  assert.equal(unpack({ bits: 1, lst: deflateSync(Buffer.alloc(1 << 20)).toString('base64url') }).bytes.length, 1 << 20)
  for (const status of [undefined, null, 'x', 7, [], {}, { status_list: null }, { status_list: 7 }, { status_list: { idx: 1 } }, { status_list: { idx: 2 ** 60, uri: 'x' } }]) assert.equal(placeOf(status), undefined)
})
