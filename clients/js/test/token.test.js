import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { createVerifier, Refusal } from '../index.js'
import { subtle } from '../lib/keys.js'
import { code } from '../testdata/issuer.js'

const shared = JSON.parse(await readFile(new URL('./hostile.json', import.meta.url), 'utf8'))
const at = shared.now * 1000
const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
const { kty, crv, x, y } = await subtle.exportKey('jwk', pair.publicKey)
const jwk = { kty, crv, x, y, alg: 'ES256', kid: 'k', use: 'sig' }

const encode = (text) => Buffer.from(text).toString('base64url')

async function sign(header, payload, key = pair.privateKey) {
  const input = `${header}.${payload}`
  const signature = await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, Buffer.from(input))
  return `${input}.${encode(new Uint8Array(signature))}`
}

const usual = { alg: 'ES256', typ: 'at+jwt', kid: 'k' }
const claims = { iss: shared.issuer, aud: shared.audience, sub: 'alice', exp: shared.now + 300, iat: shared.now }
const signed = (header = {}, more = {}) => sign(encode(JSON.stringify({ ...usual, ...header })), encode(JSON.stringify({ ...claims, ...more })))

const verifier = (o) => createVerifier({
  issuer: shared.issuer, audience: shared.audience, jwks: { keys: [jwk] }, insecureNoFeed: true, ...o,
})

test('what the Go verifier refuses is refused, with the same code', async () => {
  const verify = verifier({ claims: { level: 'integer', plan: 'object' } })
  assert.ok(shared.cases.length > 80)
  for (const { name, header, payload, code: want } of shared.cases) {
    assert.equal(await code(verify(await sign(header, payload), { at })), want, name)
  }
})

test('a token has one spelling', async () => {
  const verify = verifier()
  const good = await signed()
  const dot = good.lastIndexOf('.')
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const spare = alphabet[alphabet.indexOf(good.at(-1)) | 1]
  for (const [name, text] of Object.entries({
    'the last character altered': good.slice(0, -1) + (spare === good.at(-1) ? alphabet[alphabet.indexOf(spare) ^ 2] : spare),
    'a line break in the signature': `${good.slice(0, dot + 5)}\n${good.slice(dot + 5)}`,
    'a carriage return in the payload': `${good.slice(0, dot - 5)}\r${good.slice(dot - 5)}`,
    'a line break at the end': `${good}\n`,
    'a space before': ` ${good}`,
    '= at the end': `${good}=`,
    'another alphabet': `${good.slice(0, -1)}/`,
    'a letter that is not ASCII': `${good.slice(0, -1)}Ａ`,
    'a fourth part': `${good}.x`,
    'an empty fourth part': `${good}.`,
    'six parts': `${good}.x.y.z`,
    'two parts': good.slice(0, dot),
    'an empty signature': good.slice(0, dot + 1),
    'no text': '',
    dots: '..',
    'a JSON object': '{"payload":"","signatures":[]}',
    'a percent sign': good.replace('.', '%2e'),
  })) assert.equal(await code(verify(text, { at })), 'jwt_malformed', name)
  for (const nothing of [undefined, null, 7, {}, [good], new String(good)]) {
    assert.equal(await code(verify(nothing, { at })), 'jwt_malformed')
  }
  assert.equal(await code(verify('a.b.c.d.e', { at })), 'jwt_encrypted')
})

test('attack: a token that is bound to a key is no bearer token', async () => {
  const verify = verifier()
  for (const cnf of [{ jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' }, { 'x5t#S256': 'x' }, {}]) {
    const token = await signed({}, { cnf })
    for (const time of ['first', 'remembered']) assert.equal(await code(verify(token, { at })), 'token_bound', time)
  }
  for (const cnf of [null, 'jkt', []]) assert.equal(await code(verify(await signed({}, { cnf }), { at })), 'jwt_claims')
  assert.equal(await code(verify(await signed(), { at })), '')
})

test('who acts for somebody is a chain of clients', async () => {
  const verify = verifier()
  for (const act of [{ sub: 'c1' }, { sub: 'c1', act: { sub: 'c2', iss: 'https://a.example' } }]) {
    assert.equal(await code(verify(await signed({}, { act }), { at })), '')
  }
  for (const act of [null, 'c1', [], {}, { sub: 1 }, { sub: 'c1', act: null }, { sub: 'c1', act: { sub: 'c2', act: 'c3' } }]) {
    assert.equal(await code(verify(await signed({}, { act }), { at })), 'jwt_claims', JSON.stringify(act))
  }
})

test('nobody is no subject', async () => {
  const verify = verifier()
  for (const sub of [undefined, '']) assert.equal(await code(verify(await signed({}, { sub }), { at })), 'jwt_claim_missing')
})

test('a signature is the key’s and of this very text', async () => {
  const verify = verifier()
  const good = await signed()
  const [h, p, s] = good.split('.')
  const other = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign'])
  const bytes = Buffer.from(s, 'base64url')
  for (const [name, signature] of Object.entries({
    zeros: Buffer.alloc(64), shorter: bytes.subarray(1), longer: Buffer.concat([bytes, Buffer.alloc(1)]), 'one byte': Buffer.alloc(1),
    'in DER': Buffer.concat([Buffer.from([0x30, 68, 2, 32]), bytes.subarray(0, 32), Buffer.from([2, 32]), bytes.subarray(32)]),
  })) assert.equal(await code(verify(`${h}.${p}.${encode(signature)}`, { at })), 'jwt_signature', name)
  assert.equal(await code(verify(`${h}.${encode(JSON.stringify({ ...claims, sub: 'admin' }))}.${s}`, { at })), 'jwt_signature')
  assert.equal(await code(verify(await sign(h, p, other.privateKey), { at })), 'jwt_signature')
})

test('a public key is no secret, and a key in the header is not trusted', async () => {
  const verify = verifier()
  for (const secret of [JSON.stringify(jwk), `${x}${y}`]) {
    const hmac = await subtle.importKey('raw', Buffer.from(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
    const input = `${encode(JSON.stringify({ ...usual, alg: 'HS256' }))}.${encode(JSON.stringify(claims))}`
    const mac = await subtle.sign('HMAC', hmac, Buffer.from(input))
    assert.equal(await code(verify(`${input}.${encode(new Uint8Array(mac))}`, { at })), 'jwt_algorithm')
  }
  assert.throws(() => verifier({ algorithms: ['ES256', 'HS256'] }), TypeError)
  assert.throws(() => verifier({ algorithms: ['none'] }), TypeError)
  assert.throws(() => verifier({ algorithms: ['toString'] }), TypeError)
  assert.throws(() => verifier({ algorithms: [] }), TypeError)
  const attacker = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const own = await subtle.exportKey('jwk', attacker.publicKey)
  for (const more of [{ jwk: own }, { jku: 'http://127.0.0.1:1/' }, { x5u: 'http://127.0.0.1:1/' }, { x5c: ['MIIB'] }]) {
    const token = await sign(encode(JSON.stringify({ ...usual, ...more })), encode(JSON.stringify(claims)), attacker.privateKey)
    assert.equal(await code(verify(token, { at })), 'jwt_signature')
  }
  for (const name of ['constructor', '__proto__', 'hasOwnProperty']) {
    assert.equal(await code(verify(await signed({ alg: name }), { at })), 'jwt_algorithm')
  }
})

test('names of JavaScript’s own are claims like others', async () => {
  const payload = encode(`${JSON.stringify(claims).slice(0, -1)},"__proto__":{"roles":["admin"]},"constructor":1}`)
  const got = await verifier()(await sign(encode(JSON.stringify(usual)), payload), { at })
  assert.equal(got.roles, undefined)
  assert.equal(got.constructor, 1)
  assert.equal(Object.getPrototypeOf(got), null)
  assert.equal({}.roles, undefined)
})

test('a claim that only looks like one of ours is refused', async () => {
  const verify = verifier({ claims: { tenant: 'string' } })
  for (const more of [{ Roles: ['admin'] }, { roleſ: ['admin'] }, { SEV: 9 }, { sev: -1 }, { sev: 1.5 }, { sev: 2 ** 60 }, { sev: '1' }, { tenant: 1 }, { Tenant: 'a' }, { amr: [1] }]) {
    assert.equal(await code(verify(await signed({}, more), { at })), 'jwt_claims', JSON.stringify(more))
  }
  const got = await verify(await signed({}, { tenant: 'a', sev: 3, roles: ['x'], other: { deep: [1] } }), { at })
  assert.deepEqual([got.tenant, got.sev, got.roles, got.other.deep], ['a', 3, ['x'], [1]])
  for (const write of [() => { got.sub = 'admin' }, () => got.roles.push('admin'), () => { got.other.deep[0] = 2 }]) {
    assert.throws(write, TypeError) // who presents the same token shares them
  }
  assert.throws(() => verifier({ claims: { ROLES: 'strings' } }), TypeError)
  assert.throws(() => verifier({ claims: { tenant: 'text' } }), TypeError)
})

test('a token counts until just before it expires, remembered or not', async () => {
  for (const remember of [0, 100]) {
    const verify = verifier({ remember, leeway: 0 })
    const token = await signed({}, { nbf: shared.now - 1 })
    for (const [when, want] of [[0, ''], [299.999, ''], [300, 'jwt_expired'], [-1, ''], [-2, 'jwt_not_yet_valid'], [0, '']]) {
      assert.equal(await code(verify(token, { at: at + when * 1000 })), want, `${when}`)
    }
    const kind = verifier({ remember, leeway: 60 })
    for (const [when, want] of [[359, ''], [360, 'jwt_expired'], [-61, ''], [-62, 'jwt_not_yet_valid']]) {
      assert.equal(await code(kind(token, { at: at + when * 1000 })), want, `${when}, with leeway`)
    }
  }
  // map would pass an index for a time.
  await assert.rejects(verifier()(await signed(), 0), { code: 'jwt_expired' })
})

test('a huge token costs nothing', async () => {
  const verify = verifier()
  const good = await signed()
  let took = Infinity
  for (let i = 0; i < 3; i++) { // for the machine may be busy
    const begun = performance.now()
    assert.equal(await code(verify(good.slice(0, -8) + 'A'.repeat(500_000), { at })), 'jwt_too_long')
    assert.equal(await code(verify('.'.repeat(16_000), { at })), 'jwt_malformed')
    assert.equal(await code(verify(`${encode(`{"alg":"ES256","typ":"at+jwt","x":"${'\\u0041'.repeat(1500)}"}`)}.e30.AAAA`, { at })), 'jwt_signature')
    const names = Array.from({ length: 1300 }, (_, n) => `"${n}":0`).join()
    assert.equal(await code(verify(`${encode(`{"alg":"ES256","typ":"at+jwt",${names}}`)}.e30.AAAA`, { at })), 'jwt_signature')
    took = Math.min(took, performance.now() - begun)
  }
  assert.ok(took < 50, `${took} ms`)
})

test('of remembered tokens there are not more than asked for', async () => {
  const { Memory } = await import('../lib/memory.js')
  for (const [most, length, want] of [[100, 10, 100], [100, 16_000, 8], [0, 10, 0]]) {
    const m = new Memory(most)
    const set = {}
    const tokens = Array.from({ length: 1000 }, (_, i) => String(i).padEnd(length, '.'))
    for (const t of tokens) {
      m.put(set, t, t)
      m.get(set, tokens[0]) // which is in use
    }
    const kept = tokens.filter((t) => m.get(set, t) === t).length
    assert.ok(kept <= want && kept >= want / 2 - 1, `${kept} of ${most} with ${length} characters`)
    if (length === 10) assert.equal(m.get(set, tokens[0]), most ? tokens[0] : undefined)
    assert.equal(m.get({}, tokens[999]), undefined)
  }
})

test('what is required is required', () => {
  const good = { issuer: 'https://a.example', audience: 'b', insecureNoFeed: true }
  createVerifier(good)
  createVerifier({ ...good, leeway: undefined, jwks: new URL('https://a.example/keys') })
  for (const bad of [
    { issuer: undefined }, { issuer: '' }, { issuer: 'a' }, { issuer: 'http://a.example' }, { issuer: 'http://localhost.a.example' },
    { issuer: 'http://127.0.0.1.a.example' }, { issuer: 'https://u:p@a.example' }, { audience: undefined }, { audience: [] }, { audience: [''] },
    { audience: 7 }, { type: '' }, { leeway: 301 }, { leeway: -1 }, { leeway: NaN }, { bound: '60' && NaN }, { remember: -1 }, { maxlength: 7 },
    { insecureNoFeed: false }, { feed: {} }, { feed: { token: '' } }, { feed: { token: 'k', url: 'http://b.example/feed' } },
    { jwks: 'http://b.example/' }, { jwks: 'file:///etc/passwd' },
  ]) assert.throws(() => createVerifier({ ...good, ...bad }).close(), Error, JSON.stringify(bad))
  for (const url of ['http://localhost:8080', 'http://127.0.0.1', 'http://[::1]:1']) createVerifier({ ...good, issuer: url })
  createVerifier({ ...good, issuer: 'http://a.example', insecureAllowHTTP: true })
})

test('the types name what there is', async () => {
  const types = await readFile(new URL('../index.d.ts', import.meta.url), 'utf8')
  const module = await import('../index.js')
  assert.deepEqual([...types.matchAll(/^export (?:function|class) (\w+)/gm)].map((m) => m[1]).sort(), Object.keys(module).sort())
  const options = types.slice(types.indexOf('interface Options'), types.indexOf('export type Algorithm'))
  for (const name of [...options.matchAll(/^ {2}(\w+)\??:/gm)].map((m) => m[1])) {
    assert.doesNotMatch(String(await thrown(() => createVerifier({ [name]: undefined }))), /there is no option/, name)
  }
  assert.match(String(await thrown(() => createVerifier({ nonsense: 1 }))), /there is no option nonsense/)
  assert.ok(new Refusal('session_ended') instanceof Error)
})

async function thrown(f) {
  try {
    f()
  } catch (err) {
    return err
  }
  return undefined
}
