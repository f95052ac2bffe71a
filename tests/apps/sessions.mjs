// Sessions of Express in Redis, through connect-redis: two servers share their visitors.
import { createServer } from 'node:http';
import { assert, eventually, load, main, url } from './checks.mjs';

const { createClient } = load('redis');
const { RedisStore } = load('connect-redis');
const express = load('express');
const session = load('express-session');

async function serve(ttl) {
  const client = createClient({ url });
  client.on('error', () => {});
  await client.connect();
  const app = express();
  const store = new RedisStore({ client, prefix: 'app:', ttl });
  app.use(session({ store, secret: 'not a secret', resave: false, saveUninitialized: false }));
  app.get('/visit', (request, response) => {
    request.session.visits = (request.session.visits ?? 0) + 1;
    response.send(String(request.session.visits));
  });
  app.get('/leave', (request, response) => request.session.destroy(() => response.send('left')));
  const http = createServer(app);
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return { base: `http://127.0.0.1:${http.address().port}`, client, store };
}

/// A visitor, who keeps the cookie.
function visitor() {
  let cookie;
  return async (address) => {
    const response = await fetch(address, { headers: cookie ? { cookie } : {} });
    cookie = response.headers.get('set-cookie')?.split(';')[0] ?? cookie;
    return response.text();
  };
}

async function twoServers() {
  const [one, two] = [await serve(60), await serve(60)];
  await one.client.flushAll();
  const [ann, bob] = [visitor(), visitor()];
  assert.equal(await ann(`${one.base}/visit`), '1');
  assert.equal(await ann(`${two.base}/visit`), '2');
  assert.equal(await bob(`${two.base}/visit`), '1');
  assert.equal(await ann(`${one.base}/visit`), '3');
  assert.equal(await one.store.length(), 2);
  assert.equal((await one.store.ids()).length, 2);
  for (const key of await one.client.keys('app:*')) assert.ok((await one.client.ttl(key)) > 0);
  assert.equal(await ann(`${two.base}/leave`), 'left');
  assert.equal(await ann(`${one.base}/visit`), '1');
  assert.equal((await one.store.all()).length, 2);
  await one.store.clear();
  assert.equal(await bob(`${two.base}/visit`), '1');
}

async function theEnd() {
  const { base, client } = await serve(1);
  const ann = visitor();
  assert.equal(await ann(`${base}/visit`), '1');
  await client.flushAll();
  assert.equal(await ann(`${base}/visit`), '1');
  await eventually('the end of the session', async () => (await client.dbSize()) === 0);
}

await main([twoServers, theEnd]);
