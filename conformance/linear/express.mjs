// The site of worker.go with express-session, over the Redis at the address given.
import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'redis';

const client = createClient({ url: `redis://${process.argv[2]}` });
client.on('error', () => {});
await client.connect();

const app = express();
app.use(session({ store: new RedisStore({ client }), secret: 'a secret of 32 bytes, or a few more', resave: false, saveUninitialized: false }));

const answer = (req, res) => res.json({ name: req.session.name, n: req.session.n });
const known = (req, res, next) => (req.session.name ? next() : res.sendStatus(401));

app.post('/begin', (req, res) => {
  Object.assign(req.session, { name: req.query.name, n: 0 });
  answer(req, res);
});
app.post('/read', known, answer);
app.post('/update', known, async (req, res) => {
  const n = req.session.n;
  await sleep(parseInt(req.query.wait));
  req.session.n = n + 1;
  answer(req, res);
});
app.post('/end', known, (req, res, next) => req.session.destroy((err) => (err ? next(err) : res.json({}))));

process.stdin.resume().on('end', () => process.exit());
const server = app.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
