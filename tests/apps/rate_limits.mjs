// Rate limits shared by several servers: rate-limiter-flexible, those of Express and Fastify, bottleneck.
import { createServer } from 'node:http';
import { assert, eventually, load, main, url } from './checks.mjs';

const Bottleneck = load('bottleneck');
const express = load('express');
const { rateLimit } = load('express-rate-limit');
const fastify = load('fastify');
const fastifyRateLimit = load('@fastify/rate-limit');
const { Redis } = load('ioredis');
const { RedisStore } = load('rate-limit-redis');
const { BurstyRateLimiter, RateLimiterQueue, RateLimiterRedis, RateLimiterUnion } = load('rate-limiter-flexible');
const { createClient } = load('redis');

const redis = new Redis(url);
const nodeRedis = createClient({ url });
await nodeRedis.connect();

/// rate-limiter-flexible with either client.
async function points(storeClient, keyPrefix, more) {
  const options = { storeClient, keyPrefix, ...more };
  const limiter = new RateLimiterRedis({ ...options, points: 5, duration: 60 });
  const allowed = await Promise.allSettled(Array.from({ length: 8 }, () => limiter.consume('ann')));
  assert.equal(allowed.filter(({ status }) => status === 'fulfilled').length, 5);
  const { consumedPoints, remainingPoints, msBeforeNext } = await limiter.get('ann');
  assert.deepEqual([consumedPoints, remainingPoints], [8, 0]);
  assert.ok(msBeforeNext > 0 && msBeforeNext <= 60_000);
  assert.equal((await limiter.consume('bob', 2)).remainingPoints, 3);
  assert.equal((await limiter.penalty('bob', 2)).consumedPoints, 4);
  assert.equal((await limiter.reward('bob', 3)).consumedPoints, 1);
  await limiter.block('bob', 30);
  await assert.rejects(limiter.consume('bob'), ({ msBeforeNext }) => msBeforeNext > 0 && msBeforeNext <= 30_000);
  assert.equal(await limiter.delete('bob'), true);
  assert.equal(await limiter.get('bob'), null);
  // A client above the limit is blocked for longer than the window.
  const limit = (name, more) => new RateLimiterRedis({ ...options, keyPrefix: `${keyPrefix}:${name}`, ...more });
  const strict = limit('strict', { points: 1, duration: 60, blockDuration: 600 });
  await strict.consume('ann');
  await assert.rejects(strict.consume('ann'), ({ msBeforeNext }) => msBeforeNext > 500_000);
  const steady = limit('steady', { points: 1, duration: 60 });
  const bursty = new BurstyRateLimiter(steady, limit('burst', { points: 2, duration: 60 }));
  for (const _ of [1, 2, 3]) await bursty.consume('ann');
  await assert.rejects(bursty.consume('ann'));
  const union = new RateLimiterUnion(limiter, strict);
  await assert.rejects(union.consume('ann'));
  assert.ok(await union.consume('eve'));
  const queue = new RateLimiterQueue(limit('short', { points: 1, duration: 1 }));
  const started = Date.now();
  for (const _ of [1, 2]) await queue.removeTokens(1, 'patient');
  assert.ok(Date.now() - started > 900);
}

async function rateLimiterFlexible() {
  await Promise.all([points(redis, 'ioredis'), points(nodeRedis, 'node', { useRedisPackage: true })]);
}

async function expressRateLimit() {
  const bases = await Promise.all(
    [1, 2].map(async () => {
      const app = express();
      const store = new RedisStore({ sendCommand: (...args) => nodeRedis.sendCommand(args) });
      app.use(rateLimit({ windowMs: 60_000, limit: 5, standardHeaders: 'draft-7', legacyHeaders: false, store }));
      app.get('/', (request, response) => response.send('hello'));
      const http = createServer(app);
      await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
      return `http://127.0.0.1:${http.address().port}/`;
    }),
  );
  const statuses = [];
  for (let n = 0; n < 8; n += 1) {
    const response = await fetch(bases[n % 2]);
    statuses.push(response.status);
    assert.match(response.headers.get('ratelimit'), new RegExp(`limit=5, remaining=${Math.max(4 - n, 0)}, reset=\\d+`));
    // The client sends the scripts again to a server that has lost them.
    if (n === 3) await nodeRedis.scriptFlush();
  }
  assert.deepEqual(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
}

async function fastifyRateLimits() {
  const servers = await Promise.all(
    [1, 2].map(async () => {
      const app = fastify();
      await app.register(fastifyRateLimit, { redis, max: 5, timeWindow: 60_000, ban: 2 });
      app.get('/', async () => 'hello');
      app.get('/strict', { config: { rateLimit: { max: 1, timeWindow: 60_000 } } }, async () => 'hello');
      return app;
    }),
  );
  const statuses = [];
  for (let n = 0; n < 9; n += 1) {
    const { statusCode, headers } = await servers[n % 2].inject('/');
    statuses.push(statusCode);
    assert.equal(headers['x-ratelimit-remaining'], String(Math.max(4 - n, 0)));
  }
  assert.deepEqual(statuses, [200, 200, 200, 200, 200, 429, 429, 403, 403]);
  for (const [n, status] of [200, 429].entries()) assert.equal((await servers[n].inject('/strict')).statusCode, status);
}

async function bottleneck() {
  const connection = () => new Bottleneck.IORedisConnection({ client: redis });
  const limiter = (id, settings) => new Bottleneck({ id, connection: connection(), ...settings });
  // Two at a time, by two schedulers.
  const pair = [1, 2].map(() => limiter('pair', { maxConcurrent: 2, clearDatastore: false }));
  await Promise.all(pair.map((each) => each.ready()));
  let [running, most] = [0, 0];
  const work = async (n) => {
    most = Math.max(most, ++running);
    await new Promise(setImmediate);
    running -= 1;
    return n * n;
  };
  const squares = await Promise.all(Array.from({ length: 20 }, (_, n) => pair[n % 2].schedule(() => work(n))));
  assert.deepEqual(squares, Array.from({ length: 20 }, (_, n) => n * n));
  assert.equal(most, 2);
  assert.equal(await pair[0].clusterQueued(), 0);
  assert.equal((await pair[1].done()) + (await pair[0].running()), 20);
  // Priorities, and a reservoir that is refilled.
  const few = limiter('few', { reservoir: 3, maxConcurrent: 1 });
  await few.ready();
  const order = [];
  let go;
  const first = few.schedule(() => new Promise((resolve) => (go = resolve)));
  await eventually('the first', () => go);
  const rest = [9, 1, 5].map((priority) => few.schedule({ priority }, async () => order.push(priority)));
  await eventually('a queue', () => few.queued() === 3);
  go();
  await first;
  await eventually('an empty reservoir', async () => (await few.currentReservoir()) === 0);
  await eventually('two of them', () => order.length === 2);
  assert.deepEqual(order, [1, 5]);
  assert.equal(await few.incrementReservoir(5), 5);
  await Promise.all(rest);
  assert.deepEqual(order, [1, 5, 9]);
  const spaced = limiter('spaced', { minTime: 50 });
  const started = Date.now();
  await Promise.all([1, 2, 3].map((n) => spaced.schedule(async () => n)));
  assert.ok(Date.now() - started >= 98);
  const group = new Bottleneck.Group({ id: 'group', maxConcurrent: 1, connection: connection() });
  const people = ['ann', 'bob'];
  assert.deepEqual(await Promise.all(people.map((key) => group.key(key).schedule(async () => key))), people);
  assert.deepEqual((await group.clusterKeys()).sort(), people);
}

await main([rateLimiterFlexible, expressRateLimit, fastifyRateLimits, bottleneck]);
