// A browser's cookie jar, as far as the tests need one.
export class Jar {
  cookies = new Map()
  sent = [] // the Set-Cookie lines of the last answer

  header () { return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ') }

  async ask (base, path, { method = 'GET', body, headers = {} } = {}) {
    if (this.cookies.size) headers = { ...headers, cookie: this.header() }
    if (body !== undefined) headers = { ...headers, 'content-type': 'application/json' }
    const res = await fetch(base + path, { method, body, headers, redirect: 'manual' })
    this.sent = res.headers.getSetCookie()
    for (const line of this.sent) this.keep(line)
    const raw = await res.text()
    let json
    try { json = JSON.parse(raw) } catch { throw new Error(`${method} ${path} on ${base}: ${res.status} ${raw}`) }
    return { status: res.status, raw, json, peer: res.headers.get('x-peer') }
  }

  keep (line) {
    const [pair, ...attributes] = line.split(';')
    const at = pair.indexOf('=')
    const name = pair.slice(0, at)
    const expires = attributes.map((a) => /^\s*expires=(.*)$/i.exec(a)?.[1]).find(Boolean)
    const over = attributes.some((a) => /^\s*max-age=0$/i.test(a))
    if (over || (expires && new Date(expires) <= new Date())) this.cookies.delete(name)
    else this.cookies.set(name, pair.slice(at + 1))
  }

  copy () {
    const other = new Jar()
    other.cookies = new Map(this.cookies)
    return other
  }

  // change alters a cookie as somebody with the browser's tools would.
  change (name, how) { this.cookies.set(name, how(this.cookies.get(name))) }
}
