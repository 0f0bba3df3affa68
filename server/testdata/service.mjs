// A service in Node that takes access tokens, for services_test.go.
import { createServer } from 'node:http'
import { createVerifier, guard } from '../../clients/js/index.js'

const { ISSUER, AUDIENCE, FEED_KEY, BOUND } = process.env
const verify = createVerifier({
  issuer: ISSUER, audience: AUDIENCE, feed: { token: FEED_KEY }, bound: Number(BOUND), onError: (err) => console.error(err.message),
})

const server = createServer(guard(verify, (req, res, claims) => res.end(`no orders of ${claims.sub}\n`)))
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
