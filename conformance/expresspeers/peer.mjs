// An Express server with the routes of examples/express-peer, for the tests: it is
// the peer that a program in Go takes turns with. It prints where it listens.
//
//	node peer.mjs --store memcached|mongo|postgres --at WHERE --secret s1,s2 --keys k1,k2
import { parseArgs } from 'node:util'
import cookieParser from 'cookie-parser'
import cookieSession from 'cookie-session'
import express from 'express'
import session from 'express-session'
import Keygrip from 'keygrip'

const text = { type: 'string', default: '' }
const { values: o } = parseArgs({ options: { store: text, at: text, secret: text, keys: text } })
const secrets = o.secret.split(',')
const keys = (o.keys || o.secret).split(',')

async function store () {
  switch (o.store) {
    case 'memcached': return new (await import('connect-memcached').then((m) => m.default(session)))({ hosts: [o.at] })
    case 'mongo': return (await import('connect-mongo')).default.create({ mongoUrl: o.at })
    case 'postgres': return new (await import('connect-pg-simple').then((m) => m.default(session)))({ conString: o.at, createTableIfMissing: true })
  }
  return new session.MemoryStore()
}

const wait = (req) => new Promise((resolve) => setTimeout(resolve, Number(req.query.delay) || 0))
const saved = (req) => new Promise((resolve, reject) => req.session.save((e) => e ? reject(e) : resolve()))
const anew = (req) => new Promise((resolve, reject) => req.session.regenerate((e) => e ? reject(e) : resolve()))
const gone = (req) => new Promise((resolve, reject) => req.session.destroy((e) => e ? reject(e) : resolve()))

const app = express()
app.set('etag', false)
app.use((req, res, next) => { res.set('X-Peer', `node/${process.pid}`); next() })
app.get('/healthz', (req, res) => { res.json({ ok: true }) })

app.use('/cookie', cookieParser(secrets))
app.get('/cookie/set', (req, res) => {
  const { name, value, signed, json, maxAge } = req.query
  const options = { signed: signed === '1' }
  if (maxAge !== undefined) options.maxAge = Number(maxAge)
  res.cookie(name, json === '1' ? JSON.parse(value) : value, options)
  res.json({ ok: true })
})
app.get('/cookie/clear', (req, res) => { res.clearCookie(req.query.name); res.json({ ok: true }) })
app.get('/cookie/get', (req, res) => { res.json({ plain: req.cookies[req.query.name] ?? null, signed: req.signedCookies[req.query.name] ?? null }) })

for (const [name, ring] of [['cs', keys], ['cs256', new Keygrip(keys, 'sha256')]]) {
  app.use(`/${name}`, cookieSession({ name, keys: ring }))
  app.get(`/${name}/visit`, (req, res) => { req.session.n = (req.session.n || 0) + 1; res.json({ n: req.session.n }) })
  app.get(`/${name}/get`, (req, res) => { res.json(req.session) })
  app.get(`/${name}/set`, (req, res) => { Object.assign(req.session, req.query); res.json(req.session) })
  app.get(`/${name}/clear`, (req, res) => { req.session = null; res.json({}) })
}

app.use(session({ store: await store(), secret: secrets, resave: false, saveUninitialized: false }))
const sid = (req) => req.session.user || req.session.isVisit ? req.sessionID : null
app.get('/visit', async (req, res) => { await wait(req); req.session.isVisit = (req.session.isVisit || 0) + 1; res.json({ isVisit: req.session.isVisit, sid: req.sessionID }) })
app.get('/visit/read', async (req, res) => { await wait(req); res.json({ isVisit: req.session.isVisit ?? null, sid: req.sessionID }) })
app.get('/session', (req, res) => { res.json(req.session) })
app.post('/session/data', express.json(), (req, res) => { req.session.data = req.body; res.json({ ok: true }) })
app.post('/session/max-age', (req, res) => { req.session.cookie.maxAge = Number(req.query.ms); req.session.aged = (req.session.aged || 0) + 1; res.json({ ok: true }) })
app.post('/login', express.json(), async (req, res) => {
  const oldSid = req.sessionID
  await anew(req)
  req.session.user = req.body.user
  await saved(req)
  res.json({ user: req.session.user, sid: req.sessionID, oldSid })
})
app.get('/me', (req, res) => { res.status(req.session.user ? 200 : 401).json({ user: req.session.user ?? null, sid: sid(req) }) })
app.post('/logout', async (req, res) => { req.session.user = null; await saved(req); await anew(req); res.json({ ok: true, sid: req.sessionID }) })
app.post('/logout/destroy', async (req, res) => { await gone(req); res.json({ ok: true }) })

const server = app.listen(0, '127.0.0.1', () => { console.log(`http://127.0.0.1:${server.address().port}`) })
process.stdin.resume().on('end', () => process.exit(0)) // whoever started us is gone
