import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import { test } from 'node:test'
import { decode64, fold, members } from '../lib/text.js'

// Random numbers that are the same each time.
function random(seed) {
  return (n) => {
    seed = (Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
    return ((seed ^ (seed >>> 12)) >>> 0) % n
  }
}

const read = (text) => {
  try {
    return Object.fromEntries([...members(Buffer.from(text))].map(([name, { value }]) => [name, value]))
  } catch (err) {
    if (!(err instanceof SyntaxError || err.code === 'ERR_ENCODING_INVALID_ENCODED_DATA')) throw err
    return undefined
  }
}

test('what is read is what JSON.parse reads, and what it refuses is refused', () => {
  const seeds = [
    '{"a":1,"b":[true,false,null,-0.5e+3,"x\\u00e9\\n\\ud83d\\ude00"],"c":{"d":{},"e":[]}}', ' { "a" : "b" , "c" : [ 1 , 2 ] } ',
    '{"iss":"https://a.example","aud":["b","c"],"exp":1735085100.25}', '{}', '{"a":"\\\\","b":"\\""}',
  ]
  const pieces = ['"', '\\', '{', '}', '[', ']', ',', ':', '0', '-', '.', 'e', 'true', ' ', '\n', '\u0000', '\\u0041', '\\ud800', 'é', '\ufeff', '01', '+', '/*', "'"]
  const pick = random(7)
  let accepted = 0
  for (let i = 0; i < 50_000; i++) {
    let text = seeds[pick(seeds.length)]
    for (let n = pick(4); n >= 0; n--) {
      const at = pick(text.length + 1)
      text = text.slice(0, at) + (pick(2) ? pieces[pick(pieces.length)] : '') + text.slice(at + pick(3))
    }
    const got = read(text)
    if (got === undefined) continue
    accepted++
    assert.equal(JSON.stringify(got), JSON.stringify(JSON.parse(text)), text)
  }
  assert.ok(accepted > 1000, `${accepted} accepted`)
})

test('names that one reader might take for another are refused, at every depth', () => {
  for (const [a, b] of [['a', 'a'], ['a', 'A'], ['s', 'ſ'], ['k', '\u212a'], ['ß', 'ẞ'], ['σ', 'ς'], ['µ', 'μ'], ['a', '\\u0041'], ['', '']]) {
    for (const text of [`{"${a}":1,"${b}":2}`, `{"x":[{"y":{"${a}":1,"z":0,"${b}":2}}]}`]) assert.equal(read(text), undefined, text)
  }
  assert.deepEqual(read('{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}').b.a, 1)
  assert.equal(fold('Ⅷ'), fold('ⅷ'))
})

test('JSON is UTF-8, an object, and not too deep', () => {
  for (const text of ['', '[]', '"a"', 'null', '{"a":1}{', '{"a":1,}', '{a:1}', "{'a':1}", '{"a":01}', '{"a":.5}', '{"a":1.}', '{"a":+1}', '{"a":NaN}', '{"a":"\t"}', '{"a":"\\x41"}', '{"a":"\\ud800"}', '{"a":"\\udc00\\ud800"}', '\ufeff{}', '{"a":tru}']) {
    assert.equal(read(text), undefined, text)
  }
  assert.equal(read(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), undefined)
  const deep = (n) => `{"a":${'['.repeat(n)}1${']'.repeat(n)}}`
  assert.ok(read(deep(32)))
  assert.equal(read(deep(33)), undefined)
  assert.equal(read(deep(100_000)), undefined)
})

test('bytes have one spelling in base64url', () => {
  const pick = random(3)
  for (let n = 0; n < 100; n++) {
    const bytes = Buffer.from(Array.from({ length: n }, () => pick(256)))
    assert.deepEqual(decode64(bytes.toString('base64url')), bytes)
    if (n % 3) assert.equal(decode64(bytes.toString('base64')), undefined)
  }
  for (const text of ['A', 'AB', 'AAB', 'AA==', 'AA=', 'A A', 'AA\n', '+/', 'AA.', 'é', 'AAAAA']) assert.equal(decode64(text), undefined, text)
})
