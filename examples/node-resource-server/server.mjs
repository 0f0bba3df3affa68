// An API that takes admit's access tokens:
//
//   admit serve --dev --audiences http://localhost:8081
//   admit token issue --kind api-key --user ann --name node --scope feed --audience http://localhost:8081
//   FEED_KEY=adm_k_… node server.mjs
import { createServer } from 'node:http'
import { createVerifier, guard } from '../../clients/js/index.js' // '@admit-auth/verifier' in a package of yours

const { ISSUER = 'http://localhost:8080', AUDIENCE = 'http://localhost:8081', PORT = '8081', FEED_KEY } = process.env

const verify = createVerifier({
  issuer: ISSUER,
  audience: AUDIENCE,
  feed: { token: FEED_KEY }, // an API key with the scope "feed"
  onError: (err) => console.error(err.message),
})

createServer(guard(verify, (req, res, claims) => {
  res.setHeader('Content-Type', 'application/json')
  res.end(`${JSON.stringify({ sub: claims.sub, roles: claims.roles ?? [] })}\n`)
})).listen(Number(PORT), 'localhost', () => console.log(`serving ${AUDIENCE} on port ${PORT}`))
