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

// What cookie-parser and res.cookie do, query by query.
const query = (o) => new URLSearchParams(o).toString()
const cookies = [
  { value: 'a' }, { value: '' }, { value: 'hello world' }, { value: 'é漢😀' }, { value: 'with;semi,comma"quote\\=%20+' }, { value: "-_.!~*'()" },
  { value: 'j:{"a":1}' }, { value: '{"a":1,"b":"é<&>\\u2028"}', json: 1 }, { value: '["x",null,{"2":1,"a":2}]', json: 1 }, { value: 'null', json: 1 },
  { value: '"text"', json: 1 }, { value: '5', json: 1 }, { value: '1e21', json: 1 }, { value: 'true', json: 1 }, { value: 'false', json: 1 }, { value: 'x', maxAge: 60000 }, { value: 'x', maxAge: 1999 },
].flatMap((c) => [c, { ...c, signed: 1 }])

for (const c of cookies) {
  test(`a cookie of ${query(c)} is the same on both sides`, async () => {
    const lines = []
    const seen = []
    for (const [, write, read] of sides) {
      const jar = new Jar()
      await jar.ask(write, `/cookie/set?name=c&${query(c)}`)
      lines.push(jar.sent.map((l) => l.replace(/Expires=[^;]+/, 'Expires')))
      for (const base of [write, read]) seen.push((await jar.ask(base, '/cookie/get?name=c')).json)
      if (c.signed) {
        jar.change('c', longer)
        for (const base of [write, read]) assert.deepEqual((await jar.ask(base, '/cookie/get?name=c')).json, { plain: null, signed: false })
      }
      await jar.ask(read, '/cookie/clear?name=c')
      lines.push(jar.sent)
      assert.deepEqual((await jar.ask(write, '/cookie/get?name=c')).json, { plain: null, signed: null })
    }
    assert.deepEqual(lines.slice(0, 2), lines.slice(2))
    for (const s of seen) assert.deepEqual(s, seen[0])
  })
}

test('a cookie that nobody set is read alike', async () => {
  const odd = ['s:x', 's:', 's%3Ax.y', 'j:null', 'j:0', 'j:-0.0e3', 'j:1e-999', 'j:1e999', 'j:""', 'j:[1', 'j: {"a":1} ', '"q"', '"', '%zz', '%E0%A4%A', 'é', 'a=b', ' x ', 'j:"s"']
  for (const value of odd) {
    const jar = new Jar()
    jar.cookies.set('c', value)
    assert.deepEqual((await jar.ask(GO, '/cookie/get?name=c')).json, (await jar.ask(NODE, '/cookie/get?name=c')).json, value)
  }
})

for (const name of ['cs', 'cs256']) {
  test(`/${name}: a session in a cookie goes on, byte for byte`, async () => {
    for (const first of [0, 1]) {
      const jar = new Jar()
      for (let n = 1; n <= 6; n++) {
        const base = [NODE, GO][(n + first) % 2]
        const twin = jar.copy()
        assert.equal((await jar.ask(base, `/${name}/visit`)).json.n, n)
        await twin.ask(base === NODE ? GO : NODE, `/${name}/visit`)
        assert.deepEqual(twin.sent, jar.sent)
      }
      await jar.ask(GO, `/${name}/set?${query({ who: 'é<&>', 2: 'x' })}`)
      assert.deepEqual((await jar.ask(NODE, `/${name}/get`)).raw, (await jar.ask(GO, `/${name}/get`)).raw)
      assert.deepEqual((await jar.ask(NODE, `/${name}/get`)).json, { n: 6, who: 'é<&>', 2: 'x' })
      const twin = jar.copy()
      await jar.ask(NODE, `/${name}/clear`)
      await twin.ask(GO, `/${name}/clear`)
      assert.deepEqual(twin.sent, jar.sent)
      for (const base of [NODE, GO]) assert.deepEqual((await jar.ask(base, `/${name}/get`)).json, {})
    }
  })

  test(`/${name}: an altered session counts for nothing on both sides`, async () => {
    for (const [, write, read] of sides) {
      for (const part of [name, `${name}.sig`]) {
        const jar = new Jar()
        await jar.ask(write, `/${name}/visit`)
        jar.change(part, flip(0))
        const twin = jar.copy()
        assert.deepEqual((await jar.ask(read, `/${name}/get`)).json, {})
        await twin.ask(write, `/${name}/get`)
        assert.deepEqual(twin.sent, jar.sent) // the signature is taken away
      }
    }
  })

  test(`/${name}: keys rotate`, async () => {
    const jar = new Jar()
    await jar.ask(OLD, `/${name}/visit`)
    const twin = jar.copy()
    assert.equal((await jar.ask(GO, `/${name}/get`)).json.n, 1)
    await twin.ask(NODE, `/${name}/get`)
    assert.deepEqual(twin.sent, jar.sent)
    assert.equal(jar.sent.length, 1)
    assert.deepEqual((await jar.ask(OLD, `/${name}/get`)).json, {})
  })

  // Which is why docs say not to keep in it what must end.
  test(`/${name}: a copy is good after clear, on both sides`, async () => {
    const jar = new Jar()
    await jar.ask(GO, `/${name}/visit`)
    const copy = jar.copy()
    await jar.ask(GO, `/${name}/clear`)
    for (const base of [NODE, GO]) assert.equal((await copy.ask(base, `/${name}/get`)).json.n, 1)
  })
}
