// Starts the stand-in for admit (issuer/main.go) and speaks with it.
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const audience = 'https://api.example.org'
export const feedKey = 'feed-key'

let built

/** A fresh issuer, or undefined with a loud line where there is no Go. */
export async function startIssuer(t) {
  const run = promisify(execFile)
  const dir = fileURLToPath(new URL('./issuer', import.meta.url))
  built ??= (async () => {
    const to = mkdtempSync(join(tmpdir(), 'issuer-'))
    process.once('exit', () => rmSync(to, { recursive: true, force: true }))
    await run('go', ['build', '-o', join(to, 'issuer'), '.'], { cwd: dir })
    return join(to, 'issuer')
  })()
  let program
  try {
    program = await built
  } catch (err) {
    if (err.code !== 'ENOENT' || process.env.CI) throw err
    t.skip('there is no Go, which the issuer is written in')
    return undefined
  }
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => child.kill())
  const url = await new Promise((resolve, reject) => {
    createInterface(child.stdout).once('line', resolve)
    child.once('exit', (code) => reject(new Error(`the issuer ended with ${code}`)))
  })
  const order = async (what, body = {}) => {
    const answer = await fetch(`${url}/${what}`, { method: 'POST', body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${what}: ${await answer.text()}`)
    return answer.json()
  }
  const issuer = {
    url,
    order,
    /** A token that counts for five minutes, with more claims, or other ones. */
    sign(claims = {}, { alg = 'ES256', typ = 'at+jwt', kid } = {}) {
      const now = Math.floor(Date.now() / 1000)
      return order('sign', { alg, typ, kid, payload: { iss: url, aud: audience, sub: 'alice', iat: now, exp: now + 300, ...claims } })
    },
    end: (...events) => order('end', { events: events.map((e) => ({ seconds: 300, ...e })) }),
  }
  await order('keys/add', { alg: 'ES256', kid: 'k1' })
  return issuer
}

/** A way to an issuer that can be cut, and held up. */
export async function startWire(t, to) {
  const target = new URL(to)
  const open = new Set()
  const wire = { url: undefined, cut: false, held: false, requests: [] }
  const server = net.createServer((socket) => {
    if (wire.cut) return socket.destroy()
    const further = net.connect(target.port, target.hostname)
    for (const s of [socket, further]) {
      open.add(s)
      s.on('error', () => {})
      s.on('close', () => { open.delete(s); socket.destroy(); further.destroy() })
    }
    socket.on('data', (data) => { wire.requests.push(data.toString('latin1')); further.write(data) })
    further.on('data', (data) => { if (!wire.held) socket.write(data) })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  wire.url = `http://127.0.0.1:${server.address().port}`
  wire.break = () => open.forEach((s) => s.destroy())
  t.after(() => { wire.break(); server.close() })
  return wire
}

export async function until(what, true_) {
  for (const begun = performance.now(); !(await true_());) {
    if (performance.now() - begun > 8000) throw new Error(`${what}: not after 8 seconds`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** The code with which a promise is refused, "" where it is not. */
export async function code(promise) {
  try {
    await promise
    return ''
  } catch (err) {
    if (!err.code || !err.status) throw err
    return err.code
  }
}
