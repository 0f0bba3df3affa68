// Single cookies and sessions in cookies, on an Express server and one in Go: see
// turns.test.mjs for where they are.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Jar } from './jar.mjs'

const { NODE, GO, OLD } = process.env
const sides = [['Node', NODE, GO], ['Go', GO, NODE]] // who writes, and who reads then
const longer = (s) => s + 'A'
const flip = (at) => (s) => s.slice(0, at) + (s[at] === 'A' ? 'B' : 'A') + s.slice(at + 1)

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
  const odd = ['s:x', 's:', 's%3Ax.y', 'j:null', 'j:0', 'j:-0.0e3', 'j:1e-999', 'j:""', 'j:[1', 'j: {"a":1} ', '"q"', '"', '%zz', '%E0%A4%A', 'é', 'a=b', ' x ', 'j:"s"']
  for (const value of odd) {
    const jar = new Jar()
    jar.cookies.set('c', value)
    assert.deepEqual((await jar.ask(GO, '/cookie/get?name=c')).json, (await jar.ask(NODE, '/cookie/get?name=c')).json, value)
  }
})

test('two thousand cookies at random are read alike', async () => {
  let seed = 1
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n // the same ones each time
  const parts = ['s:', 's%3A', 'j:', 'j%3A', '%', '%2', '%E9', '%C3%A9', '%F0%9F%98%80', '%ED%A0%80', '%00', '"', '\\', '=', ';', '; ', 'c=', '; c=', ' ', '\t', '.', '{"a":', '[', ']', '}', '1', '-0', 'null', 'a', 'é', ',', '+']
  for (let i = 0; i < 2000; i += 20) {
    await Promise.all(Array.from({ length: 20 }, async () => {
      const cookie = 'c=' + Array.from({ length: random(9) }, () => parts[random(parts.length)]).join('')
      const [ours, theirs] = await Promise.all([GO, NODE].map((base) => new Jar().ask(base, '/cookie/get?name=c', { headers: { cookie } })))
      assert.deepEqual(ours.json, theirs.json, cookie)
    }))
  }
})

for (const name of ['cs', 'cs256']) {
  test(`/${name}: cookies that are set over HTTPS are Secure`, async () => {
    for (const proto of ['https', 'http', 'https, http']) {
      const [ours, theirs] = [new Jar(), new Jar()]
      await ours.ask(GO, `/${name}/visit`, { headers: { 'x-forwarded-proto': proto } })
      await theirs.ask(NODE, `/${name}/visit`, { headers: { 'x-forwarded-proto': proto } })
      assert.deepEqual(ours.sent, theirs.sent, proto)
    }
  })

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
      const other = jar.copy()
      await other.ask(NODE, `/${name}/set?${query({ who: 'é<&>', id: 'i', cookie: 'c', 2: 'x' })}`)
      await jar.ask(GO, `/${name}/set?${query({ who: 'é<&>', id: 'i', cookie: 'c', 2: 'x' })}`)
      assert.deepEqual(other.sent, jar.sent)
      assert.deepEqual((await jar.ask(NODE, `/${name}/get`)).raw, (await jar.ask(GO, `/${name}/get`)).raw)
      assert.deepEqual((await jar.ask(NODE, `/${name}/get`)).json, { n: 6, who: 'é<&>', id: 'i', cookie: 'c', 2: 'x' })
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
