// The Express app that the Go peer is tried with: the same pages, made with the
// packages that people use.
//
//   node server.mjs --redis URL --secret s1,s2 [--keys k1,k2] [--prefix sess:] [--name connect.sid] [--port 0]
//   node server.mjs --store memcached|mongo|postgres --memcached HOST:PORT --mongo URL --postgres URL …
import { parseArgs } from 'node:util'
import express from 'express'
import session from 'express-session'
import { RedisStore } from 'connect-redis'
import { createClient } from 'redis'
import { cookiePages } from './cookies.mjs'

const { values: o } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    host: { type: 'string', default: '127.0.0.1' },
    store: { type: 'string', default: 'redis' },
    redis: { type: 'string', default: 'redis://127.0.0.1:6379' },
    memcached: { type: 'string' },
    mongo: { type: 'string' },
    postgres: { type: 'string' },
    secret: { type: 'string', default: 'keyboard cat' },
    keys: { type: 'string' },
    prefix: { type: 'string', default: 'sess:' },
    name: { type: 'string', default: 'connect.sid' },
  },
})
const secrets = o.secret.split(',')
const keys = (o.keys ?? o.secret).split(',')

// One store for each session(): a store that is given to two of them takes the
// second one's cookie for both.
const stores = {
  async redis () {
    const client = createClient({ url: o.redis })
    client.on('error', () => {}) // it connects again
    await client.connect()
    return () => new RedisStore({ client, prefix: o.prefix })
  },
  async memcached () {
    const Store = (await import('connect-memcached')).default(session)
    return () => new Store({ hosts: [o.memcached] })
  },
  async mongo () {
    const { default: MongoStore } = await import('connect-mongo')
    return () => MongoStore.create({ mongoUrl: o.mongo })
  },
  async postgres () {
    const Store = (await import('connect-pg-simple')).default(session)
    const store = new Store({ conString: o.postgres, createTableIfMissing: true })
    await new Promise((done, fail) => store.get('none', (err) => (err ? fail(err) : done()))) // makes the table
    return () => new Store({ conString: o.postgres })
  },
}
const newStore = await stores[o.store]()

const app = express()
app.set('trust proxy', true)
app.set('etag', false)
app.use((req, res, next) => {
  res.set('X-Peer', `node/${process.pid}`)
  next()
})
app.get('/healthz', (req, res) => res.json({ ok: true }))

const base = () => ({ store: newStore(), secret: secrets, resave: false, saveUninitialized: false })
const plain = session({ ...base(), name: o.name })
const roll = session({ ...base(), name: 'roll.sid', rolling: true, cookie: { maxAge: 60000 } })
const secure = session({ ...base(), name: 'secure.sid', cookie: { secure: true, sameSite: 'lax' } })
const su = session({ ...base(), name: 'su.sid', saveUninitialized: true, resave: true })

const wait = (req) => new Promise((done) => setTimeout(done, Number(req.query.delay ?? 0)))
const call = (fn) => new Promise((done, fail) => fn((err) => (err ? fail(err) : done())))

const visit = async (req, res) => {
  await wait(req)
  req.session.isVisit = (req.session.isVisit || 0) + 1
  res.json({ isVisit: req.session.isVisit, sid: req.sessionID })
}
const read = async (req, res) => {
  await wait(req)
  res.json({ isVisit: req.session.isVisit ?? null, sid: req.sessionID })
}

app.get('/roll/visit', roll, visit)
app.get('/roll/read', roll, read)
app.get('/secure/visit', secure, visit)
app.get('/secure/read', secure, read)
app.get('/su/visit', su, visit)
app.get('/su/read', su, read)

app.get('/visit', plain, visit)
app.get('/visit/read', plain, read)
app.get('/visit/set', plain, (req, res) => {
  req.session.isVisit = Number(req.query.n)
  res.json({ isVisit: req.session.isVisit, sid: req.sessionID })
})
app.get('/session', plain, (req, res) => res.json(req.session))
app.post('/session/data', plain, express.json({ strict: false }), (req, res) => {
  req.session.data = req.body
  res.json({ ok: true, sid: req.sessionID })
})
app.post('/session/max-age', plain, (req, res) => {
  req.session.cookie.maxAge = Number(req.query.ms)
  req.session.aged = (req.session.aged || 0) + 1
  res.json({ ok: true, aged: req.session.aged, maxAge: Number(req.query.ms), sid: req.sessionID })
})

const signIn = async (req) => {
  await call((done) => req.session.regenerate(done))
  req.session.user = req.body.user
}
app.post('/login', plain, express.json(), async (req, res) => {
  const oldSid = req.sessionID
  await signIn(req)
  await call((done) => req.session.save(done))
  res.json({ user: req.session.user, sid: req.sessionID, oldSid })
})
app.post('/login/redirect', plain, express.json(), async (req, res) => {
  await signIn(req)
  res.redirect(303, '/me')
})
app.get('/me', plain, (req, res) => {
  const user = req.session.user ?? null
  res.status(user === null ? 401 : 200).json({ user, sid: req.sessionID })
})
app.post('/logout', plain, async (req, res) => {
  req.session.user = null
  await call((done) => req.session.save(done))
  await call((done) => req.session.regenerate(done))
  res.json({ ok: true, sid: req.sessionID })
})
app.post('/logout/destroy', plain, async (req, res) => {
  await call((done) => req.session.destroy(done))
  res.json({ ok: true })
})

cookiePages(app, secrets, keys)

app.use((err, req, res, next) => {
  if (res.headersSent) return next(err)
  res.status(500).json({ error: err.message })
})
const listener = app.listen(Number(o.port), o.host, () => {
  console.log(`http://${o.host}:${listener.address().port}`)
})
