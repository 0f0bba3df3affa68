import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { audience, feedKey, startIssuer, until } from '../testdata/issuer.js'

test('the example serves who may and hears who may no more', async (t) => {
  const issuer = await startIssuer(t)
  if (!issuer) return
  const port = await new Promise((resolve) => {
    const probe = createServer().listen(0, 'localhost', () => {
      const found = probe.address().port
      probe.close(() => resolve(found))
    })
  })
  const program = fileURLToPath(new URL('../../../examples/node-resource-server/server.mjs', import.meta.url))
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, ISSUER: issuer.url, AUDIENCE: audience, FEED_KEY: feedKey, PORT: String(port) }, stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill())
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const token = await issuer.sign({ sid: 's1', roles: ['editor'] })
  const ask = () => fetch(`http://localhost:${port}/`, { headers: { authorization: `Bearer ${token}` } })
  let answer
  await until('an answer', async () => (answer = await ask()).status === 200)
  assert.deepEqual(await answer.json(), { sub: 'alice', roles: ['editor'] })
  await issuer.end({ kind: 'sid', target: 's1' })
  await until('the ending', async () => (answer = await ask()).status === 401)
  assert.equal((await answer.json()).code, 'session_ended')
})
