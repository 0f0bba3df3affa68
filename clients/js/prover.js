const text = new TextEncoder()

const base64url = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
const encode = (value) => base64url(text.encode(JSON.stringify(value)))
const sha256 = async (s) => base64url(await crypto.subtle.digest('SHA-256', text.encode(s)))

/**
 * Signs proofs of possession (DPoP, RFC 9449) in a browser or in Node 20 and
 * later, with a key that no script can read.
 * @type {typeof import('./prover.js').createProver}
 */
export async function createProver({ keys } = {}) {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  keys ??= await crypto.subtle.generateKey(algorithm, false, ['sign', 'verify'])
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', keys.publicKey)
  const header = encode({ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } })
  const thumbprint = await sha256(JSON.stringify({ crv, kty, x, y })) // RFC 7638
  const nonces = new Map() // by origin: one is not for another

  async function proof(method, target, token) {
    const url = new URL(target)
    const claims = {
      jti: base64url(crypto.getRandomValues(new Uint8Array(16))), htm: method,
      htu: url.origin + url.pathname, iat: Math.floor(Date.now() / 1000),
    }
    if (token !== undefined) claims.ath = await sha256(token)
    if (nonces.has(url.origin)) claims.nonce = nonces.get(url.origin)
    const input = `${header}.${encode(claims)}`
    const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, keys.privateKey, text.encode(input))
    return `${input}.${base64url(signature)}`
  }

  async function send(request) {
    const token = /^DPoP +(.+)$/i.exec(request.headers.get('authorization') ?? '')?.[1]
    request.headers.set('DPoP', await proof(request.method, request.url, token))
    const answer = await fetch(request)
    const nonce = answer.headers.get('dpop-nonce')
    if (nonce) nonces.set(new URL(request.url).origin, nonce)
    return answer
  }

  return {
    keys,
    thumbprint,
    proof,
    async fetch(input, init) {
      const request = new Request(input, init)
      const again = request.clone()
      const answer = await send(request)
      if (!(await wantsNonce(answer))) return answer
      await answer.body?.cancel()
      return send(again)
    },
  }
}

// Of a service it says so in a header, of who gives tokens in the body. Another
// refusal is not asked again: it may have cost a try.
async function wantsNonce(answer) {
  if (!answer.headers.get('dpop-nonce')) return false
  if (answer.status === 401) return (answer.headers.get('www-authenticate') ?? '').includes('error="use_dpop_nonce"')
  if (answer.status !== 400) return false
  const said = await answer.clone().json().catch(() => undefined)
  return said?.error === 'use_dpop_nonce' || said?.code === 'use_dpop_nonce'
}
