import assert from 'node:assert/strict'
import { createServer, request } from 'node:http'
import { test } from 'node:test'
import { createVerifier, guard } from '../index.js'
import { audience, feedKey, startIssuer, startWire, until } from '../testdata/issuer.js'

async function serve(t, listener) {
  const server = createServer(listener)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => { server.closeAllConnections?.(); server.close() })
  const { port } = server.address()
  return (...lines) => new Promise((resolve, reject) => {
    const headers = lines.flatMap((line) => ['Authorization', line])
    request({ port, headers: ['Host', 'x', ...headers] }, async (res) => {
      let body = ''
      for await (const part of res) body += part
      resolve({ status: res.statusCode, headers: res.headers, body })
    }).on('error', reject).end()
  })
}

test('only a request with a token that counts reaches the handler', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const wire = await startWire(t, issuer.url)
  const verify = createVerifier({ issuer: issuer.url, audience, feed: { token: feedKey, url: `${wire.url}/feed` }, bound: 0.5 })
  t.after(() => verify.close())
  await verify.ready
  const ask = await serve(t, guard(verify, (req, res, claims) => res.end(`hello, ${claims.sub}`)))
  const token = await issuer.sign({ sid: 's1' })

  // Within the bound, for the heartbeat may be older than half a second.
  await until('an answer', async () => (await ask(`Bearer ${token}`)).status === 200)
  for (const [name, want, challenge, ...lines] of [
    ['no header', 'not_signed_in', 'Bearer'],
    ['another scheme', 'unknown_credential', 'Bearer error="invalid_token"', 'Basic YTpi'],
    ['no token', 'unknown_credential', 'Bearer error="invalid_token"', 'Bearer '],
    ['two tokens', 'unknown_credential', 'Bearer error="invalid_token"', `Bearer ${token} ${token}`],
    ['two headers', 'ambiguous_credentials', 'Bearer error="invalid_token"', `Bearer ${token}`, `Bearer ${token}`],
    ['a forged token', 'jwt_signature', 'Bearer error="invalid_token"', `Bearer ${token.slice(0, -6)}AAAAAA`],
  ]) {
    const { status, headers, body } = await ask(...lines)
    assert.equal(status, 401, name)
    assert.equal(headers['content-type'], 'application/problem+json')
    assert.equal(headers['www-authenticate'], challenge)
    assert.equal(headers['cache-control'], 'no-store')
    assert.equal(JSON.parse(body).code, want, name)
  }
  await issuer.end({ kind: 'sid', target: 's1' })
  await until('the ending', async () => (await ask(`Bearer ${token}`)).status === 401)
  const ended = JSON.parse((await ask(`bearer ${token}`)).body)
  assert.deepEqual(ended, { type: 'about:blank', title: 'Unauthorized', status: 401, detail: 'This session has been ended.', code: 'session_ended' })

  const other = await issuer.sign({ sid: 's2' })
  wire.cut = true
  wire.break()
  await until('the doubt', async () => (await ask(`Bearer ${other}`)).status === 503)
  const { headers, body } = await ask(`Bearer ${other}`)
  assert.equal(headers['retry-after'], '1')
  assert.equal(headers['www-authenticate'], undefined)
  assert.equal(JSON.parse(body).code, 'verifier_stale')
})

test('what is no refusal ends neither the process nor in a 401', async (t) => {
  const broken = async () => { throw new Error('secret detail') }
  const ask = await serve(t, guard(broken, () => assert.fail()))
  const { status, body } = await ask('Bearer x')
  assert.equal(status, 500)
  assert.doesNotMatch(body, /secret/)
  let passed
  await guard(broken, () => assert.fail())({ rawHeaders: ['authorization', 'Bearer x'], headers: { authorization: 'Bearer x' } }, {}, (err) => { passed = err })
  assert.match(String(passed), /secret detail/)
})
