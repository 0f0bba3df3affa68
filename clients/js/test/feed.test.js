import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { createVerifier } from '../index.js'
import { Ended, namesOf } from '../lib/ended.js'
import { Messages, parseNews } from '../lib/feed.js'
import { audience, code, feedKey, startIssuer, startWire, until } from '../testdata/issuer.js'

/** A verifier that has heard the first news. */
async function listen(t, issuer, o) {
  const verify = createVerifier({ issuer: issuer.url, audience, feed: { token: feedKey }, ...o })
  t.after(() => verify.close())
  await verify.ready
  return verify
}

const named = { sid: 's1', gid: 'g1', jti: 'j1', client_id: 'c1', sev: 3, act: { sub: 'c1', act: { sub: 'c2', act: { sub: 'c3' } } } }

test('a token ends with anything that it names', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const token = await issuer.sign(named)
  for (const [name, event, want] of [
    ['its session', { kind: 'sid', target: 's1' }, 'session_ended'],
    ['its grant', { kind: 'gid', target: 'g1' }, 'session_ended'],
    ['itself', { kind: 'jti', target: 'j1' }, 'session_ended'],
    ['its client', { kind: 'client_id', target: 'c1' }, 'session_ended'],
    ['a client that it was handed on by', { kind: 'client_id', target: 'c2' }, 'session_ended'],
    ['the first client on its way', { kind: 'client_id', target: 'c3' }, 'session_ended'],
    ['another client', { kind: 'client_id', target: 'c4' }, ''],
    ['its key', { kind: 'kid', target: 'k1' }, 'session_ended'],
    ["its subject's epoch", { kind: 'sub', target: 'alice', sev: 4 }, 'stale_claims'],
    ["everyone's epoch", { kind: 'everyone', sev: 4 }, 'stale_claims'],
    ['an epoch that it has', { kind: 'sub', target: 'alice', sev: 3 }, ''],
    ['another session', { kind: 'sid', target: 's2' }, ''],
    ['another subject', { kind: 'sub', target: 'bob', sev: 9 }, ''],
    ['a grant with its name', { kind: 'gid', target: 's1' }, ''],
  ]) {
    await issuer.order('forget')
    const verify = await listen(t, issuer)
    assert.equal(await code(verify(token)), '', name)
    await issuer.end(event, { kind: 'jti', target: 'other' })
    await until(name, () => verify.state().endings >= 1)
    assert.equal(await code(verify(token)), want, name)
    // Who begins to listen later hears it too.
    assert.equal(await code((await listen(t, issuer))(token)), want, name)
    verify.close()
  }
})

test('what concerns another audience is not heard', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const verify = await listen(t, issuer)
  await issuer.order('end', { audiences: ['https://other.example.org'], events: [{ kind: 'sid', target: 's1', seconds: 300 }] })
  await issuer.order('end', { audiences: [audience], events: [{ kind: 'sid', target: 's2', seconds: 300 }] })
  await until('the second', () => verify.state().head.endsWith('-2'))
  assert.equal(verify.state().endings, 1)
  assert.equal(await code(verify(await issuer.sign({ sid: 's1' }))), '')
  assert.equal(await code(verify(await issuer.sign({ sid: 's2' }))), 'session_ended')
})

test('an ending is refused in under a second', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const verify = await listen(t, issuer)
  const took = []
  for (let i = 0; i < 300; i++) {
    const token = await issuer.sign({ sid: `s${i}` })
    await verify(token)
    await issuer.end({ kind: 'sid', target: `s${i}` })
    const answered = performance.now()
    while ((await code(verify(token))) !== 'session_ended') {
      assert.ok(performance.now() - answered < 1000, `ending ${i} is not heard after a second`)
      await new Promise(setImmediate)
    }
    took.push(performance.now() - answered)
  }
  took.sort((a, b) => a - b)
  const at = (q) => took[Math.floor(q * (took.length - 1))].toFixed(2)
  t.diagnostic(`from the answer of the ending to the refusal, in ms: p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`)
})

test('a verifier catches up when the feed is back, from where it was', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const wire = await startWire(t, issuer.url)
  const failed = []
  const verify = await listen(t, issuer, { feed: { token: feedKey, url: `${wire.url}/feed` }, onError: (err) => failed.push(err) })
  for (let i = 0; i < 5; i++) {
    const token = await issuer.sign({ sid: `s${i}` })
    assert.equal(await code(verify(token)), '')
    wire.cut = true
    wire.break()
    await issuer.end({ kind: 'sid', target: `s${i}` })
    await until('a failure', () => failed.length > i)
    assert.equal(await code(verify(token)), '') // nobody has told yet
    wire.cut = false
    await until('the ending', async () => (await code(verify(token))) === 'session_ended')
  }
  assert.equal(verify.state().endings, 5)
  const positions = wire.requests.map((r) => /last-event-id: \w+-(\d+)/i.exec(r)?.[1])
  assert.equal(positions[0], undefined)
  assert.deepEqual([...new Set(positions.slice(1))], ['0', '1', '2', '3', '4'])
})

test('a feed with a new past replaces what was heard', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const wire = await startWire(t, issuer.url)
  const verify = await listen(t, issuer, { feed: { token: feedKey, url: `${wire.url}/feed` } })
  await issuer.end({ kind: 'sid', target: 'old' })
  await until('the ending', () => verify.state().endings === 1)
  await issuer.order('forget')
  await issuer.end({ kind: 'sid', target: 'new' })
  wire.break()
  await until('the new past', async () => (await code(verify(await issuer.sign({ sid: 'new' })))) === 'session_ended')
  assert.equal(verify.state().endings, 1)
})

test('stale is not unauthenticated', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const deaf = createVerifier({ issuer: issuer.url, audience, feed: { token: feedKey, url: 'http://127.0.0.1:1/feed' } })
  t.after(() => deaf.close())
  const token = await issuer.sign({ sid: 's1', exp: Math.floor(Date.now() / 1000) + 900 })
  await assert.rejects(deaf(token), { code: 'verifier_stale', status: 503, retryAfter: 1 })
  const open = createVerifier({ issuer: issuer.url, audience, feed: { token: feedKey, url: 'http://127.0.0.1:1/feed' }, insecureWhenStale: true })
  t.after(() => open.close())
  assert.equal(await code(open(token)), '')

  const wire = await startWire(t, issuer.url)
  const verify = await listen(t, issuer, { feed: { token: feedKey, url: `${wire.url}/feed` } })
  const ended = await issuer.sign({ sid: 's2' })
  await issuer.end({ kind: 'sid', target: 's2' })
  await until('the ending', async () => (await code(verify(ended))) === 'session_ended')
  wire.cut = true
  wire.break()
  const last = verify.state().at.getTime()
  assert.equal(await code(verify(token, { at: last + 60_000 })), '')
  await assert.rejects(verify(token, { at: last + 60_001 }), { code: 'verifier_stale', status: 503 })
  await assert.rejects(verify(ended, { at: last + 60_001 }), { code: 'session_ended', status: 401 })
  await assert.rejects(verify(token, { at: last + 1_000_000 }), { code: 'jwt_expired', status: 401 })
})

const epoch = '5f3a9c0e1b2d4f60'
const minute = 60_000

test('how old news is, the issuer’s clock says, and ours where that is ahead', async () => {
  const ended = new Ended(minute, false)
  const names = await namesOf(named, 'k1')
  const now = Date.now()
  const head = `${epoch}-0`
  const hear = (at, when) => ended.hear({ head, at, reset: false, events: [] }, when)
  hear(now, now)
  ended.check(names, now + minute)
  hear(now - 61_000, now) // held back by a proxy
  assert.throws(() => ended.check(names, now), { code: 'verifier_stale' })
  hear(now + 24 * 60 * minute, now)
  ended.check(names, now + minute)
  assert.throws(() => ended.check(names, now + minute + 1), { code: 'verifier_stale' })
})

test('an ending is kept as long as a token can name it, with leeway', async () => {
  const names = await namesOf(named, 'k1')
  const ended = new Ended(Infinity, false)
  const hear = (at, ...events) => ended.hear({ head: `${epoch}-1`, at, reset: false, events }, at)
  const [digest] = names.ended
  hear(0, { kind: 'sid', digest, until: 60 * minute }, { kind: 'sid', digest, until: minute })
  for (const at of [50, 60, 65.9]) {
    hear(at * minute)
    assert.throws(() => ended.check(names, 0), { code: 'session_ended' })
  }
  hear(68 * minute)
  assert.equal(ended.size, 0)
  const begin = 100 * minute
  const raise = (kind, sev, until) => ({ kind, digest: kind === 'sub' ? names.subject : undefined, sev, until: begin + until })
  hear(begin, raise('sub', 9, 60 * minute), raise('sub', 5, minute), raise('everyone', 4, minute))
  hear(begin + 50 * minute)
  assert.throws(() => ended.check({ ...names, sev: 8 }, 0), { code: 'stale_claims' })
  ended.check({ ...names, sev: 9 }, 0)
  hear(begin + 68 * minute)
  assert.equal(ended.size, 0)
  ended.check({ ...names, sev: 0 }, 0)
})

test('a snapshot revives no token in its leeway', async () => {
  const names = await namesOf(named, 'k1')
  for (const restored of [false, true]) {
    const ended = new Ended(Infinity, false)
    ended.hear({
      head: `${epoch}-2`, at: 0, reset: true,
      events: [{ kind: 'sid', digest: names.ended[0], until: minute }, { kind: 'sub', digest: names.subject, sev: 9, until: minute }],
    }, 0)
    ended.hear({ head: restored ? '5f3a9c0e1b2d4f61-2' : `${epoch}-2`, at: 3 * minute, reset: true, events: [] }, 3 * minute)
    assert.throws(() => ended.check(names, 0), { code: 'session_ended' })
    const other = { ended: [], subject: names.subject, sev: 8 }
    if (restored) ended.check(other, 0) // epochs are given anew
    else assert.throws(() => ended.check(other, 0), { code: 'stale_claims' })
    ended.hear({ head: ended.head, at: 9 * minute, reset: false, events: [] }, 9 * minute)
    assert.equal(ended.size, 0)
  }
})

test('a feed that refuses or makes no sense is tried again, and not believed', async (t) => {
  const head = '5f3a9c0e1b2d4f60-1'
  const at = new Date().toISOString()
  const event = { id: head, at, kind: 'sid', digest: 'PrhMx_p6uNRnSEY-QUQomg', until: at }
  const message = (n) => `data: ${JSON.stringify({ head, at, reset: true, ...n })}\n\n`
  const bad = [
    (res) => res.writeHead(401).end(), (res) => res.writeHead(403).end(), (res) => res.writeHead(500).end(message()),
    (res) => res.writeHead(200, { 'content-type': 'text/html' }).end(message()), (res) => res.writeHead(302, { location: '/' }).end(),
    (res) => res.socket.destroy(), (res) => res.writeHead(200, { 'content-type': 'text/event-stream' }).end(),
    ...['data: hello\n\n', message().slice(0, -1), `event: other\n${message()}`, message({ reset: false }), message({ events: [{ ...event, kind: 'planet' }] })].map(
      (body) => (res) => res.writeHead(200, { 'content-type': 'text/event-stream' }).end(body),
    ),
  ]
  let asked = 0
  const server = createServer((req, res) => bad[asked++ % bad.length](res))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => { server.closeAllConnections?.(); server.close() })
  for (let i = 0; i < bad.length; i++) {
    asked = i
    const url = `http://127.0.0.1:${server.address().port}`
    const failure = await new Promise((resolve) => {
      const verify = createVerifier({ issuer: url, audience, feed: { token: feedKey }, onError: (err) => { verify.close(); resolve(err); assert.equal(verify.state().head, undefined, `answer ${i}`) } })
    })
    assert.ok(failure instanceof Error)
  }
})

test('a refusal tells its code', async (t) => {
  const server = createServer((req, res) => res.writeHead(403, { 'content-type': 'application/problem+json' }).end('{"code":"insufficient_scope"}'))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => { server.closeAllConnections?.(); server.close() })
  const failure = await new Promise((resolve) => {
    const verify = createVerifier({ issuer: `http://127.0.0.1:${server.address().port}`, audience, feed: { token: feedKey }, onError: (err) => { if (/feed/.test(err.message)) { verify.close(); resolve(err) } } })
  })
  assert.match(failure.message, /403 and code "insufficient_scope"/)
})

test('a token for the feed that expires is asked for at each connection', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const wire = await startWire(t, issuer.url)
  let asked = 0
  const token = async () => (asked++ === 0 ? 'expired' : feedKey)
  const verify = await listen(t, issuer, { feed: { token, url: `${wire.url}/feed` } })
  assert.equal(asked, 2)
  wire.break()
  await until('another', () => asked === 3)
  await issuer.order('refuse', { on: true }) // ends the stream
  await until('a refusal', () => asked > 4)
  await issuer.order('refuse', { on: false })
  await issuer.end({ kind: 'sid', target: 's1' })
  await until('the ending', () => verify.state().endings === 1)
})

test('a feed that falls silent is given up', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const wire = await startWire(t, issuer.url)
  const failed = []
  await listen(t, issuer, { feed: { token: feedKey, url: `${wire.url}/feed` }, onError: (err) => failed.push(err) })
  wire.held = true
  const begun = performance.now()
  await new Promise((resolve) => setTimeout(resolve, 9000))
  assert.equal(failed.length, 0)
  await until('the end', () => failed.length > 0)
  assert.match(String(failed[0]), /silent/)
  assert.ok(performance.now() - begun < 12_000)
})

test('news that no feed would tell is refused', () => {
  const head = '5f3a9c0e1b2d4f60-7'
  const at = '2026-01-02T03:04:05.678Z'
  const event = { id: '5f3a9c0e1b2d4f60-7', at, kind: 'sid', digest: 'PrhMx_p6uNRnSEY-QUQomg', until: at, reason: 'x' }
  const good = { head, at, reset: true, more: 1, events: [event] }
  assert.deepEqual(parseNews(JSON.stringify(good)), {
    head, at: Date.parse(at), reset: true, events: [{ id: head, kind: 'sid', digest: event.digest, sev: undefined, until: Date.parse(at) }],
  })
  assert.deepEqual(parseNews(JSON.stringify({ head, at })).events, [])
  for (const [name, change] of Object.entries({
    'no head': { head: undefined }, 'an epoch of zero': { head: '0000000000000000-7' }, capitals: { head: '5F3A9C0E1B2D4F60-7' },
    'a leading zero': { head: '5f3a9c0e1b2d4f60-07' }, 'no time': { at: undefined }, 'a time in words': { at: 'Jan 2 2026' },
    'a time that is none': { at: '2026-13-02T03:04:05Z' }, 'a number for a time': { at: 7 }, 'reset 1': { reset: 1 }, 'events that are one': { events: event },
    'an event beyond the head': { events: [{ ...event, id: '5f3a9c0e1b2d4f60-8' }] }, 'an event of another epoch': { events: [{ ...event, id: '5f3a9c0e1b2d4f61-7' }] },
    'number 0': { events: [{ ...event, id: '5f3a9c0e1b2d4f60-0' }] }, 'twice the same': { events: [event, event] },
    'an unknown kind': { events: [{ ...event, kind: 'planet' }] }, 'no digest': { events: [{ ...event, digest: undefined }] },
    'a short digest': { events: [{ ...event, digest: 'PrhMx' }] }, 'spare bits': { events: [{ ...event, digest: 'PrhMx_p6uNRnSEY-QUQomh' }] },
    'an epoch of a session': { events: [{ ...event, sev: 1 }] }, 'no epoch of a subject': { events: [{ ...event, kind: 'sub' }] },
    'a digest of everyone': { events: [{ ...event, kind: 'everyone', sev: 1 }] }, 'an epoch that a number cannot hold': { events: [{ ...event, kind: 'sub', sev: 2 ** 60 }] },
    'no until': { events: [{ ...event, until: undefined }] }, 'no event': { events: [null] },
  })) assert.throws(() => parseNews(JSON.stringify({ ...good, ...change })), SyntaxError, name)
  for (const text of ['', 'null', '[]', '7', '{']) assert.throws(() => parseNews(text), Error, text)
})

test('however a stream is cut into packets, it says the same', () => {
  const stream = ': hi\n\nid: 1\ndata:a é\ndata: b\n\nevent: other\ndata: c\n\nevent: message\ndata:  d: e\n\ndata\n\ndata: cut off'
  const want = ['a é\nb', ' d: e', '']
  for (const text of [stream, stream.replaceAll('\n', '\r\n'), `\ufeff${stream}`]) {
    const bytes = Buffer.from(text)
    for (const size of [1, 2, 7, bytes.length]) {
      const m = new Messages()
      const got = []
      for (let i = 0; i < bytes.length; i += size) got.push(...m.read(bytes.subarray(i, i + size)))
      assert.deepEqual(got, want, `${size} bytes at a time`)
    }
  }
  assert.throws(() => {
    const m = new Messages()
    for (let i = 0; i < 65; i++) m.read(Buffer.alloc(1 << 20, 0x61))
  }, /too long/)
})

test('a snapshot of 100,000 endings is heard', async () => {
  const at = new Date().toISOString()
  const events = Array.from({ length: 100_000 }, (_, i) => ({
    id: `5f3a9c0e1b2d4f60-${i + 1}`, at, kind: 'sid', digest: Buffer.from(String(i).padStart(16)).toString('base64url'), reason: 'signed_out', until: new Date(Date.now() + 3e5).toISOString(),
  }))
  const text = `data: ${JSON.stringify({ head: '5f3a9c0e1b2d4f60-100000', at, reset: true, events })}\n\n`
  const m = new Messages()
  const bytes = Buffer.from(text)
  const begun = performance.now()
  const ended = new Ended(60_000, false)
  for (let i = 0; i < bytes.length; i += 65_536) for (const message of m.read(bytes.subarray(i, i + 65_536))) ended.hear(parseNews(message))
  assert.equal(ended.size, 100_000)
  assert.ok(performance.now() - begun < 5000, `${performance.now() - begun} ms`)
})
