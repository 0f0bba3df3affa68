// The pages of single cookies and of sessions in cookies.
import cookieParser from 'cookie-parser'
import cookieSession from 'cookie-session'
import Keygrip from 'keygrip'

export function cookiePages (app, secrets, keys) {
  app.use('/cookie', cookieParser(secrets))
  app.get('/cookie/set', (req, res) => {
    const { name, value, signed, json, maxAge } = req.query
    const options = { signed: signed === '1' }
    if (maxAge !== undefined) options.maxAge = Number(maxAge)
    res.cookie(name, json === '1' ? JSON.parse(value) : value, options)
    res.json({ ok: true })
  })
  app.get('/cookie/clear', (req, res) => {
    res.clearCookie(req.query.name)
    res.json({ ok: true })
  })
  app.get('/cookie/get', (req, res) => {
    const { name } = req.query
    res.json({ plain: req.cookies[name] ?? null, signed: req.signedCookies[name] ?? null })
  })

  for (const [name, ring] of [['cs', keys], ['cs256', new Keygrip(keys, 'sha256')]]) {
    app.use(`/${name}`, cookieSession({ name, keys: ring }))
    app.get(`/${name}/visit`, (req, res) => {
      req.session.n = (req.session.n || 0) + 1
      res.json({ n: req.session.n })
    })
    app.get(`/${name}/get`, (req, res) => res.json(req.session))
    app.get(`/${name}/set`, (req, res) => {
      Object.assign(req.session, req.query)
      res.json(req.session)
    })
    app.get(`/${name}/clear`, (req, res) => {
      req.session = null
      res.json({})
    })
  }
}
