// Drives an Express app and the Go peer from outside, with one cookie jar: each
// promise is tried in both directions, and told on a line of its own.
//
//   node drive.mjs REDIS-URL NODE GO NODE-ROTATING GO-ROTATING NODE-ROTATED GO-ROTATED
//
// The rotating pair signs with a new secret and verifies the old one as well;
// the rotated pair knows the new one alone.
import assert from 'node:assert/strict'
import { createClient } from 'redis'

const [redisURL, node, go, nodeRotating, goRotating, nodeRotated, goRotated] = process.argv.slice(2)
const redis = await createClient({ url: redisURL }).connect()
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

// A Jar is a browser's cookies of one site.
class Jar {
  cookies = new Map()
  header () { return [...this.cookies].map(([k, v]) => `${k}=${v}`).join('; ') }
  take (lines) {
    for (const line of lines) {
      const [, name, value] = /^([^=;]+)=([^;]*)/.exec(line)
      if (/max-age=0/i.test(line)) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
  }

  async send (method, base, path, { body, headers = {}, text } = {}) {
    const response = await fetch(base + path, {
      method,
      redirect: 'manual',
      headers: { cookie: this.header(), ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body,
    })
    const lines = response.headers.getSetCookie()
    this.take(lines)
    const answer = await response.text()
    assert.match(response.headers.get('x-peer'), base === node || base === nodeRotating || base === nodeRotated ? /^node\/\d+$/ : /^go\/\d+$/)
    return { status: response.status, lines, location: response.headers.get('location'), ...(text ? { text: answer } : parse(answer)) }
  }

  get (base, path, o) { return this.send('GET', base, path, o) }
  post (base, path, o) { return this.send('POST', base, path, o) }
  login (base, user) { return this.post(base, '/login', { body: JSON.stringify({ user }) }) }
  copy () {
    const jar = new Jar()
    jar.cookies = new Map(this.cookies)
    return jar
  }
}
const parse = (text) => {
  try { return JSON.parse(text) } catch { return { text } }
}

let bad = 0
async function check (name, fn) {
  try {
    await fn()
    console.log(`ok ${name}`)
  } catch (err) {
    bad++
    console.log(`not ok ${name}: ${err.stack}`)
  }
}
// both tries something with either server first.
function both (name, fn) {
  return Promise.all([check(`${name} (first Node)`, () => fn(node, go)), check(`${name} (first Go)`, () => fn(go, node))])
}
const shape = (line) => line?.replace(/=[^;]*/, '=').replace(/expires=[^;]*/i, 'Expires=')

await both('a stranger who writes nothing costs nothing', async (a) => {
  const keys = await redis.dbSize()
  const jar = new Jar()
  for (const path of ['/visit/read', '/me', '/session', '/roll/read', '/secure/read']) assert.deepEqual((await jar.get(a, path)).lines, [], path)
  assert.equal(await redis.dbSize(), keys)
})

// These wait for ends to come, while the others run.
const slow = [
  both('an age that one sets ends the session on both', async (a, b) => {
    const jar = new Jar()
    await jar.get(a, '/visit')
    const aged = await jar.post(a, '/session/max-age?ms=1200')
    assert.equal(aged.aged, 1)
    assert.match(aged.lines[0], /; Expires=/)
    const record = JSON.parse(await redis.get('sess:' + aged.sid))
    assert.equal(record.cookie.originalMaxAge, 1200)
    assert.equal((await jar.get(b, '/visit/read')).isVisit, 1)
    await sleep(2300)
    for (const base of [a, b]) assert.equal((await jar.get(base, '/visit/read')).isVisit, null)
  }),
  both('a session that is only read on one lives on the other', async (a, b) => {
    const jar = new Jar()
    await jar.get(a, '/visit')
    await jar.post(a, '/session/max-age?ms=1500')
    for (let i = 0; i < 4; i++) {
      await sleep(800)
      assert.equal((await jar.get(b, '/visit/read')).isVisit, 1)
    }
    assert.equal((await jar.get(a, '/visit')).isVisit, 2) // 3.2 s later
  }),
]

await both('two servers take turns on one session', async (a, b) => {
  const jar = new Jar()
  let sid
  for (const [i, base] of [a, b, b, a, a, b].entries()) {
    const v = await jar.get(base, '/visit')
    sid ??= v.sid
    assert.deepEqual([v.isVisit, v.sid, v.lines.length], [i + 1, sid, i ? 0 : 1])
    assert.deepEqual((await jar.get(base, '/visit/read')).isVisit, i + 1)
  }
  assert.match(sid, /^[\w-]{32}$/)
  assert.equal(await redis.get('sess:' + sid), '{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"isVisit":6}')
  const ttl = await redis.ttl('sess:' + sid)
  assert.ok(ttl > 86390 && ttl <= 86400, `${ttl}`)
})

await both('both set the same cookie lines and keep the same records', async (a, b) => {
  for (const path of ['/visit', '/roll/visit', '/secure/visit', '/su/visit', '/su/read']) {
    const headers = { 'x-forwarded-proto': 'https' }
    const [x, y] = [await new Jar().get(a, path, { headers }), await new Jar().get(b, path, { headers })]
    assert.equal(x.lines.length, 1)
    assert.equal(shape(x.lines[0]), shape(y.lines[0]), path)
    const records = await Promise.all([x, y].map(async ({ sid }) => (await redis.get('sess:' + sid)).replace(/"expires":"[^"]*"/, '').replace('59999', '60000')))
    assert.equal(records[0], records[1], path)
  }
})

await both('who signed in on one is signed in on the other, under a new id', async (a, b) => {
  const jar = new Jar()
  const before = await jar.get(b, '/visit')
  const old = jar.copy()
  const login = await jar.login(a, 'alice')
  assert.equal(login.user, 'alice')
  assert.equal(login.oldSid, before.sid)
  assert.notEqual(login.sid, before.sid)
  for (const base of [b, a]) {
    const me = await jar.get(base, '/me')
    assert.deepEqual([me.status, me.user, me.sid], [200, 'alice', login.sid])
    const stale = await old.copy().get(base, '/me')
    assert.deepEqual([stale.status, stale.user], [401, null])
    assert.notEqual(stale.sid, before.sid)
    assert.equal((await old.copy().get(base, '/visit/read')).isVisit, null)
  }
})

await both('a redirect after signing in finds the session on the other', async (a, b) => {
  const jar = new Jar()
  const r = await jar.post(a, '/login/redirect', { body: '{"user":"bob"}', text: true })
  assert.deepEqual([r.status, r.location], [303, '/me'])
  assert.equal((await jar.get(b, r.location)).user, 'bob')
})

for (const how of ['/logout', '/logout/destroy']) {
  await both(`${how} on one signs out on the other`, async (a, b) => {
    const jar = new Jar()
    await jar.login(b, 'alice')
    const stolen = jar.copy()
    assert.equal((await jar.get(a, '/me')).status, 200)
    const out = await jar.post(a, how)
    assert.equal(out.ok, true)
    for (const base of [a, b]) {
      assert.equal((await jar.get(base, '/me')).status, 401)
      assert.equal((await stolen.copy().get(base, '/me')).status, 401)
    }
  })
}

await both('what is tampered with is refused on both', async (a, b) => {
  const jar = new Jar()
  const { sid } = await jar.get(a, '/visit')
  const good = jar.cookies.get('connect.sid')
  const [mine, mac] = decodeURIComponent(good).slice(2).split('.')
  const other = (await new Jar().get(b, '/visit')).sid
  const flip = (s, i) => s.slice(0, i) + (s[i] === 'A' ? 'B' : 'A') + s.slice(i + 1)
  const e = encodeURIComponent
  for (const value of [
    flip(good, 10), e(`s:${mine}.${flip(mac, 0)}`), e(`s:${other}.${mac}`), e(`s:${mine}.`), e(`s:${mine}`), e(mine), e(`s:${mine}.${mac}=`),
    e(`s:${mine}.${mac}.${mac}`), e(`s:${mine}.${mac.slice(0, -1)}`), '', 'j:{}', e(`s:.${mac}`),
  ]) {
    for (const base of [a, b]) {
      const bad = new Jar()
      bad.cookies.set('connect.sid', value)
      const v = await bad.get(base, '/visit')
      assert.equal(v.isVisit, 1, value)
      assert.notEqual(v.sid, sid)
      assert.equal(v.lines.length, 1)
    }
  }
  for (const value of [good, decodeURIComponent(good), `"${good}"`]) {
    for (const base of [a, b]) {
      const same = new Jar()
      same.cookies.set('connect.sid', value)
      assert.equal((await same.get(base, '/visit/read')).sid, sid, value)
    }
  }
})

await both('fields that one does not know survive the other', async (a, b) => {
  const jar = new Jar()
  const data = { z: 1, a: [1.5, null, { '<&>': 'é漢😀\u2028' }], 10: 'ten', 2: 'two' }
  const { sid } = await jar.get(a, '/visit')
  await jar.post(a, '/session/data', { body: JSON.stringify(data) })
  const before = await redis.get('sess:' + sid)
  await jar.get(b, '/visit')
  await jar.get(a, '/visit')
  assert.equal(await redis.get('sess:' + sid), before.replace('"isVisit":1', '"isVisit":3'))
  const texts = await Promise.all([a, b].map((base) => jar.get(base, '/session', { text: true })))
  assert.equal(texts[0].text, texts[1].text)
})

await check('Go keeps every byte that it does not change', async () => {
  const jar = new Jar()
  const { sid } = await jar.get(node, '/visit')
  const body = '{"n":1.50,"big":12345678901234567890,"e":1E+2, "u":"\\u00e9<>&","again":1,"again":2}'
  await jar.post(go, '/session/data', { body })
  await jar.get(go, '/visit')
  assert.equal(await redis.get('sess:' + sid), `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"isVisit":2,"data":${body}}`)
  assert.equal((await jar.get(go, '/session', { text: true })).text, await redis.get('sess:' + sid))
  assert.equal((await jar.get(node, '/visit/read')).isVisit, 2) // which only touches it
  assert.match(await redis.get('sess:' + sid), /12345678901234567890/)
})

await check('numbers are read as JavaScript reads them, and counted on', async () => {
  for (const n of ['0', '7', '-3', '1.50', '1e3', '1e21', '1e-7', '9007199254740993', '0x1f', '0b11', '0o17', '%20%2012%20', '', 'abc', 'Infinity', '-0', '1_000', '.5', '5.', '1e400', '0x', '+4', '++4', '1e', 'NaN', 'inf', '0x1p4', '-0x1']) {
    const texts = []
    for (const base of [node, go]) {
      const jar = new Jar()
      const { sid } = await jar.get(base, '/visit/set?n=' + n)
      texts.push(await redis.get('sess:' + sid))
      await jar.get(base, '/visit')
      texts.push(await redis.get('sess:' + sid))
    }
    assert.deepEqual(texts.slice(2), texts.slice(0, 2), n)
  }
})

await check('Go looks at the end of what it loads; Express brings it back to life', async () => {
  const jar = new Jar()
  const { sid } = await jar.get(node, '/visit')
  await redis.set('sess:' + sid, '{"cookie":{"originalMaxAge":1000,"expires":"2026-01-02T03:04:05.678Z","httpOnly":true,"path":"/"},"isVisit":9}')
  const v = await jar.copy().get(go, '/visit')
  assert.equal(v.isVisit, 1)
  assert.notEqual(v.sid, sid)
  assert.equal((await jar.copy().get(node, '/visit/read')).isVisit, 9)
})

await check('parallel visits to Go lose nothing', async () => {
  const jar = new Jar()
  await jar.get(node, '/visit/set?n=0')
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => jar.copy().get(i % 2 ? go : goRotating, '/visit')))
  assert.deepEqual(all.map((v) => v.isVisit).sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i + 1))
  assert.equal((await jar.get(node, '/visit/read')).isVisit, 50)
})

await check('parallel slow visits to Go lose nothing', async () => {
  const jar = new Jar()
  await jar.get(node, '/visit/set?n=0')
  const all = await Promise.all(Array.from({ length: 50 }, () => jar.get(go, '/visit?delay=100')))
  assert.equal(new Set(all.map((v) => v.isVisit)).size, 50)
})

await check('a write of Node between the read and the write of Go survives', async () => {
  const jar = new Jar()
  const { sid } = await jar.get(go, '/visit')
  const slow = jar.get(go, '/visit?delay=400')
  await sleep(150)
  await jar.post(node, '/session/data', { body: '{"from":"node"}' })
  assert.equal((await slow).isVisit, 2)
  assert.deepEqual(JSON.parse(await redis.get('sess:' + sid)).data, { from: 'node' })
})

await check('under load Go undoes no write of Node', async () => {
  const jar = new Jar()
  const { sid } = await jar.get(go, '/visit')
  let done = false
  const load = Array.from({ length: 8 }, async (_, i) => {
    while (!done) assert.equal((await jar.copy().get(i % 2 ? go : goRotating, '/visit')).sid, sid)
  })
  for (let n = 1; n <= 20; n++) {
    await jar.post(node, '/session/data', { body: `{"n":${n}}` })
    assert.equal(JSON.parse(await redis.get('sess:' + sid)).data.n, n)
  }
  done = true
  await Promise.all(load)
})

await check('under load Go brings no session back that Node destroyed', async () => {
  for (let round = 0; round < 5; round++) {
    const jar = new Jar()
    const { sid } = await jar.login(go, 'alice')
    const load = Array.from({ length: 40 }, (_, i) => jar.copy().get(i % 2 ? go : goRotating, `/visit?delay=${i}`))
    await sleep(10 + round)
    await jar.copy().post(node, '/logout/destroy')
    assert.equal(await redis.exists('sess:' + sid), 0)
    for (const v of await Promise.all(load)) assert.ok(v.status === 200 || v.code === 'session_ended', JSON.stringify(v))
    assert.equal(await redis.exists('sess:' + sid), 0)
  }
})

for (const how of ['/logout', '/logout/destroy']) {
  for (const [name, base] of [['Node', node], ['Go', go]]) {
    await check(`nothing is written over ${how} of ${name}`, async () => {
      const jar = new Jar()
      const { sid } = await jar.login(go, 'alice')
      const slow = jar.copy().get(go, '/visit?delay=400')
      await sleep(150)
      await jar.copy().post(base, how)
      const late = await slow
      assert.deepEqual([late.status, late.code, late.lines.length], [401, 'session_ended', 0])
      assert.equal(await redis.exists('sess:' + sid), 0)
    })
  }
}

await check('of two cookies of different users neither counts on Go, and both are cleared', async () => {
  const [alice, bob] = [new Jar(), new Jar()]
  await alice.login(node, 'alice')
  await bob.login(node, 'bob')
  for (const [x, y] of [[alice, bob], [bob, alice]]) {
    const me = await new Jar().get(go, '/me', { headers: { cookie: x.header() + '; ' + y.header() } })
    assert.deepEqual([me.status, me.user], [401, null])
    assert.match(me.lines[0], /^connect\.sid=; Max-Age=0/)
  }
  const twice = await new Jar().get(go, '/me', { headers: { cookie: alice.header() + '; ' + alice.header() } })
  assert.equal(twice.user, 'alice')
})

await both('rolling sends the cookie each time', async (a, b) => {
  const jar = new Jar()
  await jar.get(a, '/roll/visit')
  for (const base of [b, a]) {
    const v = await jar.get(base, '/roll/read')
    assert.deepEqual([v.isVisit, v.lines.length], [1, 1])
    const left = new Date(/Expires=([^;]*)/.exec(v.lines[0])[1]) - Date.now()
    assert.ok(left > 57000 && left <= 60000, `${left}`)
  }
})

await both('a Secure cookie goes out where the proxy says HTTPS', async (a, b) => {
  const https = { headers: { 'x-forwarded-proto': 'https' } }
  for (const o of [{}, { headers: { 'x-forwarded-proto': 'http, https' } }]) {
    const v = await new Jar().get(a, '/secure/visit', o)
    assert.deepEqual([v.status, v.isVisit, v.lines], [200, 1, []])
  }
  const jar = new Jar()
  assert.match((await jar.get(a, '/secure/visit', https)).lines[0], /; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
  assert.equal((await jar.get(b, '/secure/visit', https)).isVisit, 2)
})

await both('saveUninitialized keeps a session for every stranger', async (a, b) => {
  const jar = new Jar()
  const first = await jar.get(a, '/su/read')
  assert.deepEqual([first.isVisit, first.lines.length], [null, 1])
  const second = await jar.get(b, '/su/visit')
  assert.deepEqual([second.sid, second.isVisit, second.lines.length], [first.sid, 1, 0])
})

await check('secrets rotate on both, and nobody is signed out', async () => {
  for (const base of [node, go]) {
    const jar = new Jar()
    const { sid } = await jar.login(base, 'alice')
    for (const next of [nodeRotating, goRotating]) assert.equal((await jar.copy().get(next, '/me')).sid, sid)
    const turned = jar.copy()
    assert.equal((await turned.get(goRotating, '/me')).lines.length, 1) // signed anew
    for (const next of [nodeRotating, goRotating, nodeRotated, goRotated]) assert.equal((await turned.get(next, '/me')).sid, sid)
    for (const next of [nodeRotated, goRotated]) assert.equal((await jar.copy().get(next, '/me')).status, 401) // the old signature
  }
})

await Promise.all(slow)
await redis.close()
process.exit(bad ? 1 : 0)
