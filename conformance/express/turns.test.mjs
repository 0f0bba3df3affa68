// Takes turns on one cookie jar between Express servers and servers in Go. The
// environment says where they are: NODE and GO sign with the newest secret and
// verify the old one as well, GO2 is another process like GO, and OLD is an Express
// server that knows the old secret alone.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Jar } from './jar.mjs'

const { NODE, GO, GO2, OLD } = process.env
const sides = [['Node', NODE, GO], ['Go', GO, NODE]] // who writes, and who reads then
const post = (body) => ({ method: 'POST', body: body === undefined ? undefined : JSON.stringify(body) })
const longer = (s) => s + 'A'
const flip = (at) => (s) => s.slice(0, at) + (s[at] === 'A' ? 'B' : 'A') + s.slice(at + 1)
const data = (raw) => raw.slice(raw.indexOf('"data":')) // of a session's JSON

test('both sides say who they are', async () => {
  assert.match((await new Jar().ask(NODE, '/healthz')).peer, /^node\/\d+$/)
  assert.match((await new Jar().ask(GO, '/healthz')).peer, /^go\/\d+$/)
})

test('a session goes on when servers take turns', async () => {
  const jar = new Jar()
  const sids = new Set()
  for (let n = 1; n <= 12; n++) {
    const { json } = await jar.ask([NODE, GO, GO2][n % 3], '/visit')
    assert.equal(json.isVisit, n)
    sids.add(json.sid)
    for (const base of [NODE, GO]) assert.equal((await jar.ask(base, '/visit/read')).json.isVisit, n)
  }
  assert.equal(sids.size, 1)
})

test('a stranger who writes nothing gets no cookie', async () => {
  for (const base of [NODE, GO]) {
    const jar = new Jar()
    assert.equal((await jar.ask(base, '/visit/read')).json.isVisit, null)
    assert.deepEqual(jar.sent, [])
  }
})

for (const [name, write, read] of sides) {
  test(`who signs in on ${name} is signed in on the other side`, async () => {
    const jar = new Jar()
    await jar.ask(write, '/visit')
    const { json } = await jar.ask(write, '/login', post({ user: 'ada' }))
    assert.notEqual(json.sid, json.oldSid)
    const me = await jar.ask(read, '/me')
    assert.deepEqual([me.status, me.json.user, me.json.sid], [200, 'ada', json.sid])
    assert.equal((await jar.ask(read, '/visit/read')).json.isVisit, null) // it was made anew
  })

  for (const path of ['/logout', '/logout/destroy']) {
    test(`${path} on ${name} signs out on the other side`, async () => {
      const jar = new Jar()
      await jar.ask(read, '/login', post({ user: 'ada' }))
      const kept = jar.copy()
      assert.equal((await jar.ask(write, path, { method: 'POST' })).status, 200)
      for (const j of [jar, kept]) for (const base of [read, write]) assert.equal((await j.ask(base, '/me')).status, 401)
    })
  }

  test(`a session's data that ${name} wrote stays as it is`, async () => {
    const jar = new Jar()
    const body = { z: 1, a: [1.5, null, true, 'é漢😀<&>\u2028'], 10: 'x', 2: { deep: {} }, '': '' }
    await jar.ask(write, '/session/data', post(body))
    await jar.ask(read, '/visit')
    const { raw, json } = await jar.ask(write, '/session')
    assert.deepEqual(json.data, body)
    assert.ok(data(raw).startsWith(`"data":${JSON.stringify(body)}`), raw)
    assert.equal(json.isVisit, 1)
  })

  test(`an altered session id is refused by the other side than ${name}`, async () => {
    const jar = new Jar()
    await jar.ask(write, '/login', post({ user: 'ada' }))
    for (const how of [longer, flip(4), flip(36), (s) => s.slice(0, -1), (s) => s.slice(4)]) {
      const other = jar.copy()
      other.change('connect.sid', how)
      assert.equal((await other.ask(read, '/me')).status, 401)
    }
  })

  test(`a cookie that lives for a while on ${name} does so on the other side`, async () => {
    const jar = new Jar()
    await jar.ask(write, '/visit')
    await jar.ask(write, '/session/max-age?ms=60000', { method: 'POST' })
    await jar.ask(read, '/visit')
    assert.match(jar.sent[0], /; Path=\/; Expires=[^;]+; HttpOnly$/)
    const { cookie, aged } = (await jar.ask(write, '/session')).json
    assert.ok(Math.abs(cookie.originalMaxAge - 60000) <= 1) // Express's drifts
    assert.ok(new Date(cookie.expires) - Date.now() > 50000)
    assert.equal(aged, 1)
  })
}

// A line break between two members would end a Node process over memcached, if it
// were kept as it is.
test('data that Go keeps byte for byte is read by Node', async () => {
  const jar = new Jar()
  const body = '{\r\n\t"b" : 1.50,\r\n\t"a":"\\u00e9 \\r\\n"\n}'
  await jar.ask(GO, '/session/data', { method: 'POST', body })
  await jar.ask(GO2, '/visit')
  assert.ok((await jar.ask(GO, '/session')).raw.includes(body)) // before Node: its touch may be a set
  const { data, isVisit } = (await jar.ask(NODE, '/session')).json
  assert.deepEqual([data, isVisit], [{ b: 1.5, a: 'é \r\n' }, 1])
  assert.equal((await jar.ask(GO, '/visit')).json.isVisit, 2)
})

test('a session that began under the old secret lives on, and Go signs it anew', async () => {
  const jar = new Jar()
  await jar.ask(OLD, '/login', post({ user: 'ada' }))
  const old = jar.cookies.get('connect.sid')
  assert.equal((await jar.ask(NODE, '/me')).json.user, 'ada')
  assert.equal((await jar.ask(GO, '/me')).json.user, 'ada')
  assert.notEqual(jar.cookies.get('connect.sid'), old)
  assert.equal((await jar.ask(NODE, '/me')).json.user, 'ada')
  assert.equal((await jar.ask(OLD, '/me')).status, 401)
})

test('servers in Go lose no visit of fifty at once', async () => {
  const jar = new Jar()
  await jar.ask(NODE, '/visit')
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => jar.copy().ask(i % 2 ? GO : GO2, '/visit')))
  assert.deepEqual(all.map((a) => a.json.isVisit).sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i + 2))
  assert.equal((await jar.ask(NODE, '/visit/read')).json.isVisit, 51)
})

test("a write of Go's does not undo a write of Node's that came in between", async () => {
  const jar = new Jar()
  await jar.ask(NODE, '/visit')
  const slow = jar.copy().ask(GO, '/visit?delay=400')
  await new Promise((resolve) => setTimeout(resolve, 150))
  await jar.ask(NODE, '/session/data', post({ kept: true }))
  await slow
  const { json } = await jar.ask(NODE, '/session')
  assert.deepEqual([json.isVisit, json.data], [2, { kept: true }])
})

test("a write of Go's does not bring back what Node destroyed", async () => {
  const jar = new Jar()
  await jar.ask(NODE, '/login', post({ user: 'ada' }))
  const slow = jar.copy().ask(GO, '/visit?delay=400').catch((e) => e)
  await new Promise((resolve) => setTimeout(resolve, 150))
  await jar.copy().ask(NODE, '/logout/destroy', { method: 'POST' })
  await slow
  for (const base of [NODE, GO]) assert.equal((await jar.copy().ask(base, '/me')).status, 401)
})

test('/sealed: a session goes on between processes, and nobody reads it', async () => {
  const jar = new Jar()
  for (let n = 1; n <= 6; n++) assert.equal((await jar.ask([GO, GO2][n % 2], '/sealed/visit')).json.n, n)
  assert.deepEqual((await jar.ask(GO2, '/sealed/set?who=ada')).json, { n: 6, who: 'ada' })
  assert.deepEqual((await jar.ask(GO, '/sealed/get')).json, { n: 6, who: 'ada' })
  const text = Buffer.from(jar.cookies.get('sealed'), 'base64url').toString('latin1')
  assert.ok(!text.includes('ada'))
})

test('/sealed: a copy is good for nothing after clear', async () => {
  for (const [here, there] of [[GO, GO2], [GO2, GO]]) {
    const jar = new Jar()
    await jar.ask(here, '/sealed/visit')
    const copy = jar.copy()
    assert.deepEqual((await jar.ask(here, '/sealed/clear')).json, {})
    assert.equal(jar.cookies.has('sealed'), false)
    for (const base of [here, there]) {
      assert.deepEqual((await copy.copy().ask(base, '/sealed/get')).json, {})
      const replay = copy.copy()
      assert.equal((await replay.ask(base, '/sealed/visit')).status, 401)
    }
    assert.equal((await jar.ask(there, '/sealed/visit')).json.n, 1)
  }
})

test('/sealed: an older cookie brings nothing back', async () => {
  const jar = new Jar()
  await jar.ask(GO, '/sealed/set?points=100')
  const rich = jar.copy()
  await jar.ask(GO, '/sealed/set?points=80')
  assert.equal((await jar.ask(GO2, '/sealed/visit')).json.n, 1) // the newer one has arrived
  assert.equal((await jar.ask(GO, '/sealed/visit')).json.n, 2)
  for (const base of [GO, GO2]) {
    const { points } = (await rich.copy().ask(base, '/sealed/get')).json // rolled forward, or refused
    assert.notEqual(points, '100')
  }
  assert.equal((await rich.copy().ask(GO, '/sealed/visit')).json.points, undefined)
  assert.equal((await jar.ask(GO2, '/sealed/get')).json.points, '80')
  const altered = jar.copy()
  altered.change('sealed', flip(9))
  assert.deepEqual((await altered.ask(GO, '/sealed/get')).json, {})
})
