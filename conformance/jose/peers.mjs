// Does jobs with the JOSE libraries of Node, as peers of the library's own: an
// array of them comes on stdin, an array of {value} or {error} leaves on stdout.
import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'
import { createProofs } from '../../clients/js/index.js'
import { createProver } from '../../clients/js/prover.js'

globalThis.crypto ??= webcrypto // which Node 18 does not do by itself

const text = new TextEncoder()

const expected = (job) => ({ algorithms: [job.alg], issuer: job.issuer, audience: job.audience })

// A key as node:crypto has it, for jsonwebtoken.
function keyObject(jwk) {
  if (jwk.kty === 'oct') return Buffer.from(jwk.k, 'base64url')
  return jwk.d ? createPrivateKey({ key: jwk, format: 'jwk' }) : createPublicKey({ key: jwk, format: 'jwk' })
}

// The password of PBES2 is text, which importJWK would take for a key.
const encryptionKey = (job) =>
  job.jwk.kty === 'oct' ? Buffer.from(job.jwk.k, 'base64url') : jose.importJWK(job.jwk, job.alg)

const work = {
  async 'jose verify'(job) {
    return (await jose.jwtVerify(job.token, await jose.importJWK(job.jwk, job.alg), { ...expected(job), typ: 'at+jwt' })).payload
  },
  // With the keys that the issuer publishes.
  async 'jose verify remote'(job) {
    const keys = jose.createRemoteJWKSet(new URL('/oauth/jwks', job.issuer))
    return (await jose.jwtVerify(job.token, keys, { ...expected(job), typ: 'at+jwt', requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id'] })).payload
  },
  async 'jsonwebtoken verify remote'(job) {
    const { keys } = await (await fetch(new URL('/oauth/jwks', job.issuer))).json()
    const { kid } = jose.decodeProtectedHeader(job.token)
    return jsonwebtoken.verify(job.token, keyObject(keys.find((k) => k.kid === kid)), expected(job))
  },
  async 'jose sign'(job) {
    return new jose.SignJWT(job.claims).setProtectedHeader({ alg: job.alg, typ: 'at+jwt', kid: 'k' }).sign(await jose.importJWK(job.jwk, job.alg))
  },
  async 'jose generate'(job) {
    if (job.alg.startsWith('HS')) return jose.exportJWK(await jose.generateSecret(job.alg, { extractable: true }))
    return jose.exportJWK((await jose.generateKeyPair(job.alg, { extractable: true, crv: job.crv })).privateKey)
  },
  // DPoP proofs (RFC 9449), which bring their key along.
  async 'jose verify proof'(job) {
    const { payload, protectedHeader } = await jose.jwtVerify(job.token, jose.EmbeddedJWK, { algorithms: [job.alg], typ: 'dpop+jwt', maxTokenAge: 60, requiredClaims: ['jti', 'htm', 'htu', 'iat'] })
    return { ...payload, jkt: await jose.calculateJwkThumbprint(protectedHeader.jwk) }
  },
  async 'jose sign proof'(job) {
    const { privateKey, publicKey } = await jose.generateKeyPair(job.alg)
    const jwk = await jose.exportJWK(publicKey)
    const proof = await new jose.SignJWT(job.claims).setIssuedAt().setProtectedHeader({ alg: job.alg, typ: 'dpop+jwt', jwk }).sign(privateKey)
    return { proof, jkt: await jose.calculateJwkThumbprint(jwk) }
  },
  // Our own for Node, which must agree with that for Go.
  async 'ours check proof'(job) {
    const proofs = createProofs('https://api.example.test', { algorithms: [job.alg], nonceKey: Buffer.from(job.text, 'base64url') })
    await proofs.check({ method: 'POST', url: '/orders/4711?page=1', rawHeaders: ['DPoP', job.token] }, job.claims.token, job.claims.jkt)
    return 'taken'
  },
  async 'ours sign proof'(job) {
    const prover = await createProver()
    return { proof: await prover.proof(job.claims.htm, job.claims.htu, job.claims.token), jkt: prover.thumbprint }
  },
  async 'jose thumbprint'(job) {
    return jose.calculateJwkThumbprint(job.jwk)
  },
  async 'jose decrypt'(job) {
    const options = { keyManagementAlgorithms: [job.alg], contentEncryptionAlgorithms: [job.enc], maxPBES2Count: 1_000_000 }
    return new TextDecoder().decode((await jose.compactDecrypt(job.token, await encryptionKey(job), options)).plaintext)
  },
  async 'jose encrypt'(job) {
    return new jose.CompactEncrypt(text.encode(job.text)).setProtectedHeader({ alg: job.alg, enc: job.enc, kid: 'k' }).encrypt(await encryptionKey(job))
  },
  async 'jsonwebtoken verify'(job) {
    return jsonwebtoken.verify(job.token, keyObject(job.jwk), expected(job))
  },
  async 'jsonwebtoken sign'(job) {
    return jsonwebtoken.sign(job.claims, keyObject(job.jwk), { algorithm: job.alg, header: { typ: 'at+jwt', kid: 'k' } })
  },
}

const done = []
for (const job of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    done.push({ value: await work[job.do](job) })
  } catch (error) {
    done.push({ error: String(error) })
  }
}
process.stdout.write(JSON.stringify(done))
