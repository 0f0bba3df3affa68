import assert from 'node:assert/strict'
import { createHash, createHmac, generateKeyPairSync, randomUUID, sign as signature, webcrypto } from 'node:crypto'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { createProofs, createVerifier, guard } from '../index.js'
import { normal } from '../lib/proofs.js'
import { createProver } from '../prover.js'

globalThis.crypto ??= webcrypto // which Node 18 does not do by itself

const origin = 'https://api.example.test'
const target = `${origin}/orders/4711`
const token = 'an.access.token'
const hash = (s) => createHash('sha256').update(s).digest('base64url')
const encode = (v) => Buffer.from(typeof v === 'string' ? v : JSON.stringify(v)).toString('base64url')

/** Makes proofs that are good unless a test changes something. */
function forge() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { kty, crv, x, y } = publicKey.export({ format: 'jwk' })
  return {
    d: privateKey.export({ format: 'jwk' }).d,
    jwk: { kty, crv, x, y },
    jkt: hash(JSON.stringify({ crv, kty, x, y })),
    sign(header, claims) {
      const input = `${encode(header)}.${encode(claims)}`
      return `${input}.${signature('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
    },
  }
}

const request = (...proofs) => ({ method: 'GET', url: '/orders/4711?page=2', rawHeaders: proofs.flatMap((p) => ['DPoP', p]) })

/** What becomes of a request that is good but for a change. */
async function attempt(options, change = () => {}) {
  const f = forge()
  const proofs = createProofs(origin, options)
  const at = Date.now()
  const x = {
    f, at, token, jkt: f.jkt, req: request(), proofs: undefined,
    header: { typ: 'dpop+jwt', alg: 'ES256', jwk: f.jwk },
    claims: { jti: randomUUID(), htm: 'GET', htu: target, iat: Math.floor(at / 1000), ath: hash(token), nonce: proofs.nonce(at) },
  }
  change(x)
  for (const p of x.proofs ?? [f.sign(x.header, x.claims)]) x.req.rawHeaders.push('DPoP', p)
  return proofs.check(x.req, x.token, x.jkt, { at: x.at }).then(() => 'taken', (err) => err.code ?? err)
}

test("the RFC's proof is good", async () => {
  const proof = 'eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA'
  const proofs = createProofs('https://resource.example.org', { insecureNoNonce: true })
  const req = { method: 'GET', url: '/protectedresource', rawHeaders: ['dpop', proof] }
  await proofs.check(req, 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU', '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I', { at: 1562262619000 })
})

test('each rule of RFC 9449 section 4.3 is kept', async () => {
  const small = Buffer.from([1, ...Array(31).fill(0)])
  for (const [name, change] of Object.entries({
    'no header': (x) => { x.proofs = [] },
    'two headers': (x) => { x.proofs = [x.f.sign(x.header, x.claims), x.f.sign(x.header, x.claims)] },
    'two proofs in a header': (x) => { const p = x.f.sign(x.header, x.claims); x.proofs = [`${p}, ${p}`] },
    'text': (x) => { x.proofs = ['proof'] },
    'a huge header': (x) => { x.proofs = [x.f.sign(x.header, x.claims) + 'A'.repeat(100_000)] },
    'an array as header': (x) => { x.header = '[]' },
    'a name twice': (x) => { x.header = `{"typ":"dpop+jwt","alg":"ES256","jwk":${JSON.stringify(forge().jwk)},"jwk":${JSON.stringify(x.f.jwk)}}` },
    'an extension': (x) => { x.header.crit = ['x'] },
    'no jti': (x) => { delete x.claims.jti },
    'an empty jti': (x) => { x.claims.jti = '' },
    'no htm': (x) => { delete x.claims.htm },
    'no htu': (x) => { delete x.claims.htu },
    'no iat': (x) => { delete x.claims.iat },
    'iat as text': (x) => { x.claims.iat = String(x.claims.iat) },
    'another type': (x) => { x.header.typ = 'at+jwt' },
    'no type': (x) => { delete x.header.typ },
    'alg none': (x) => { x.header.alg = 'none' },
    'alg none without a signature': (x) => { x.proofs = [`${encode({ ...x.header, alg: 'none' })}.${encode(x.claims)}.`] },
    'a MAC under the public key': (x) => {
      const input = `${encode({ ...x.header, alg: 'HS256' })}.${encode(x.claims)}`
      x.proofs = [`${input}.${createHmac('sha256', JSON.stringify(x.f.jwk)).update(input).digest('base64url')}`]
    },
    'an algorithm that is not accepted': (x) => { x.header.alg = 'RS256' },
    "another key's signature": (x) => { x.proofs = [forge().sign(x.header, x.claims)] },
    'zeros as signature': (x) => { x.proofs = [x.f.sign(x.header, x.claims).replace(/[^.]+$/, 'A'.repeat(86))] },
    'a key behind kid': (x) => { x.header = { typ: 'dpop+jwt', alg: 'ES256', kid: '1' } },
    'no object as key': (x) => { x.header.jwk = 'key' },
    'a private key': (x) => { x.header.jwk = { ...x.f.jwk, d: x.f.d } },
    'a symmetric key': (x) => { x.header.jwk = { kty: 'oct', k: 'AAAA' } },
    'a point that is not on the curve': (x) => { x.header.jwk = { ...x.f.jwk, y: x.f.jwk.x } },
    'the identity of Ed25519': (x) => {
      const input = `${encode({ typ: 'dpop+jwt', alg: 'EdDSA', jwk: { kty: 'OKP', crv: 'Ed25519', x: small.toString('base64url') } })}.${encode(x.claims)}`
      x.proofs = [`${input}.${Buffer.concat([small, Buffer.alloc(32)]).toString('base64url')}`]
    },
    'another method': (x) => { x.claims.htm = 'POST' },
    'a method in small letters': (x) => { x.claims.htm = 'get' },
    'another path': (x) => { x.claims.htu = `${origin}/orders/4712` },
    'another site': (x) => { x.claims.htu = 'https://evil.test/orders/4711' },
    'backslashes': (x) => { x.claims.htu = 'https://api.example.test\\orders\\4711' },
    'a user': (x) => { x.claims.htu = 'https://u@api.example.test/orders/4711' },
    'no ath': (x) => { delete x.claims.ath },
    "another token's ath": (x) => { x.claims.ath = hash('another') },
    'expired by its own word': (x) => { x.claims.exp = 1 },
  })) {
    for (const options of [{}, { insecureNoNonce: true }]) assert.equal(await attempt(options, change), 'invalid_dpop_proof', name)
  }
  for (const options of [{}, { insecureNoNonce: true }]) {
    assert.equal(await attempt(options), 'taken')
    assert.equal(await attempt(options, (x) => { x.jkt = forge().jkt }), 'dpop_other_key')
    for (const htu of [`${target}?a#b`, 'HTTPS://API.example.test:443/orders/4711', `${origin}/x/../%6frders/%34711`]) {
      assert.equal(await attempt(options, (x) => { x.claims.htu = htu }), 'taken', htu)
    }
  }
  for (const nonce of [undefined, '', 'made up', '!'.repeat(24), 'A'.repeat(24), createProofs(origin).nonce()]) {
    assert.equal(await attempt({}, (x) => { x.claims.nonce = nonce }), 'use_dpop_nonce', nonce)
  }
  for (const [seconds, nonces, iat] of [[59, 'taken', 'taken'], [62, 'use_dpop_nonce', 'invalid_dpop_proof'], [-12, 'use_dpop_nonce', 'invalid_dpop_proof']]) {
    const later = (x) => { x.at += seconds * 1000 }
    assert.equal(await attempt({}, later), nonces)
    assert.equal(await attempt({ insecureNoNonce: true }, later), iat)
  }
  assert.equal(await attempt({}, (x) => { x.claims.iat = 1 }), 'taken', "a clock that is wrong, and a nonce of ours")
})

test('a proof counts once, and a flood makes old ones older', async () => {
  const proofs = createProofs(origin, { maxReplays: 320, insecureNoNonce: true })
  const f = forge()
  const at = Date.now()
  const send = (jti, ago = 0) =>
    proofs.check(request(f.sign({ typ: 'dpop+jwt', alg: 'ES256', jwk: f.jwk }, { jti, htm: 'GET', htu: target, iat: at / 1000 - ago, ath: hash(token) })), token, f.jkt, { at })
      .then(() => 'taken', (err) => err.code)
  assert.equal(await send('1'), 'taken')
  assert.equal(await send('1'), 'dpop_proof_replayed')
  for (let i = 30; i > 0; i--) assert.equal(await send(`a${i}`, i / 10 - 5), 'taken')
  assert.equal(await send('1'), 'dpop_busy')
  assert.equal(await send('late', 30), 'dpop_busy')
})

test('URIs have one spelling', () => {
  for (const [uri, want] of [
    ['https://A.test', 'https://a.test/'], ['https://a.test:443/%7eb/%2f', 'https://a.test/~b/%2F'], ['http://a.test:80/a/./../b?q#f', 'http://a.test/b'],
    ['https:/a', undefined], ['https://', undefined], ['https:a.test', undefined], ['https://a.test/%zz', undefined], ['https://a.test/\n', undefined],
    ['https://u:p@a.test/', undefined], ['ftp://a.test/', undefined], ['https://\\a.test/', undefined], ['/x', undefined],
  ]) assert.equal(normal(uri), want, uri)
  for (const bad of ['', 'http://api.example.test', 'https://a.test/?x', 'api.example.test']) assert.throws(() => createProofs(bad), TypeError)
  assert.throws(() => createProofs(origin, { algorithms: ['HS256'] }), TypeError)
  assert.throws(() => createProofs(origin, { nonceKey: new Uint8Array(31) }), RangeError)
  assert.throws(() => createProofs(origin, { nonsense: 1 }), TypeError)
})

test('a stolen token is of no use without its key', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issuer = 'https://auth.example.test'
  const verify = createVerifier({ issuer, audience: origin, jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256' }] }, insecureNoFeed: true })
  const signed = (cnf) => {
    const input = `${encode({ typ: 'at+jwt', alg: 'ES256', kid: 'k' })}.${encode({ iss: issuer, aud: origin, sub: 'alice', exp: Math.floor(Date.now() / 1000) + 60, cnf })}`
    return `${input}.${signature('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
  }
  let asked = 0
  let listener
  const server = createServer((req, res) => { asked++; listener(req, res) })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => { server.closeAllConnections?.(); server.close() })
  const url = `http://127.0.0.1:${server.address().port}`
  listener = guard(verify, (req, res, claims) => res.end(JSON.stringify({ code: claims.sub })), { proofs: createProofs(url) })

  const [owner, thief] = [await createProver(), await createProver()]
  assert.equal(owner.keys.privateKey.extractable, false)
  const [bound, unbound] = [signed({ jkt: owner.thumbprint }), signed(undefined)]
  const algs = 'algs="ES256 EdDSA"'
  for (const [name, send, authorization, code, challenge] of [
    ['its owner', owner.fetch, `DPoP ${bound}`, 'alice', null],
    ['its owner again', owner.fetch, `DPoP ${bound}`, 'alice', null],
    ['a thief with a key of his own', thief.fetch, `DPoP ${bound}`, 'dpop_other_key', `DPoP error="invalid_token", ${algs}`],
    ['a thief without one', fetch, `DPoP ${bound}`, 'invalid_dpop_proof', `DPoP error="invalid_dpop_proof", ${algs}`],
    ['a thief who calls it a bearer token', fetch, `Bearer ${bound}`, 'token_bound', 'DPoP error="invalid_token"'],
    ['a proof for a token that is bound to no key', owner.fetch, `DPoP ${unbound}`, 'token_unbound', 'Bearer error="invalid_token"'],
    ['a bearer token', fetch, `Bearer ${unbound}`, 'alice', null],
  ]) {
    const answer = await send(`${url}/orders?page=1`, { method: 'POST', body: 'x', headers: { authorization } })
    assert.equal((await answer.json()).code, code, name)
    assert.equal(answer.headers.get('www-authenticate'), challenge, name)
  }
  assert.equal(asked, 9, 'one more for the first nonce of each key')
  // With the keys of before it is the same prover.
  assert.equal((await createProver({ keys: owner.keys })).thumbprint, owner.thumbprint)
})
