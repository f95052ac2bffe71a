// Features of node-redis beyond single commands: transactions, pub/sub, and with RESP3 its client-side cache, which the
// server keeps valid with invalidations.
import { assert, eventually, load, main, refused, url } from './checks.mjs';

const { createClient, BasicClientSideCache, BasicPooledClientSideCache, createClientPool, WatchError } = load('redis');

async function connect(options) {
  const client = createClient({ url, ...options });
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function transactions() {
  for (const RESP of [2, 3]) {
    const client = await connect({ RESP });
    await client.flushAll();
    const replies = await client.multi().set('key', '1').incr('key').get('key').hSet('hash', { a: 'b' }).hGetAll('hash').exec();
    assert.deepEqual(JSON.parse(JSON.stringify(replies)), ['OK', 2, '2', 1, { a: 'b' }]);
    const failed = await client.multi().incr('hash').incr('key').execAsPipeline().catch((error) => error);
    assert.match(failed.errorIndexes ? failed.replies[0].message : String(failed), /WRONGTYPE/);
    await refused(client.multi().addCommand(['NOSUCHCOMMAND']).set('key', '0').exec(), 'unknown command');
    assert.equal(await client.get('key'), '3');
    // A watched key that another connection changes.
    const other = await connect({ RESP });
    await client.watch('key');
    await other.set('key', '10');
    await assert.rejects(client.multi().incr('key').exec(), WatchError);
    await client.watch('key');
    assert.deepEqual(await client.multi().incr('key').exec(), [11]);
    client.destroy();
    other.destroy();
  }
}

async function counters() {
  const pool = await createClientPool({ url }, { minimum: 4, maximum: 4 }).connect();
  await pool.set('counter', '0');
  // Each uses a separate connection while it watches.
  const add = () =>
    pool.execute(async (client) => {
      for (;;) {
        await client.watch('counter');
        const value = Number(await client.get('counter'));
        try {
          return await client.multi().set('counter', String(value + 1)).exec();
        } catch (error) {
          assert.ok(error instanceof WatchError, error);
        }
      }
    });
  await Promise.all(Array.from({ length: 100 }, add));
  assert.equal(await pool.get('counter'), '100');
  pool.destroy();
}

async function pubSub() {
  for (const RESP of [2, 3]) {
    const [publisher, subscriber] = [await connect({ RESP }), await connect({ RESP })];
    const heard = [];
    await subscriber.subscribe('news', (message, channel) => heard.push(`${channel}: ${message}`));
    await subscriber.pSubscribe('n*s', (message, channel) => heard.push(`n*s ${channel}: ${message}`));
    await subscriber.sSubscribe('shard', (message, channel) => heard.push(`shard ${channel}: ${message}`));
    await subscriber.subscribe('bytes', (message) => heard.push(message.length), true);
    assert.equal(await publisher.publish('news', 'hello'), 2);
    assert.equal(await publisher.sPublish('shard', 'one'), 1);
    assert.equal(await publisher.publish('bytes', Buffer.alloc(100_000, 255)), 1);
    await eventually('four messages', () => heard.length === 4);
    assert.deepEqual(heard.sort(), [100_000, 'n*s news: hello', 'news: hello', 'shard shard: one']);
    assert.deepEqual({ ...(await publisher.pubSubNumSub(['news', 'none'])) }, { news: 1, none: 0 });
    if (RESP === 3) assert.equal(await subscriber.set('while', 'subscribed'), 'OK');
    // A lost connection comes back with its subscriptions.
    assert.equal(await publisher.clientKill({ filter: 'TYPE', type: 'pubsub' }), 1);
    await eventually('the subscription again', async () => (await publisher.publish('news', 'again')) === 2);
    await eventually('the message', () => heard.includes('news: again'));
    await subscriber.unsubscribe('news');
    await subscriber.pUnsubscribe('n*s');
    assert.equal(await publisher.publish('news', 'nobody'), 0);
    publisher.destroy();
    subscriber.destroy();
  }
}

/// The number of calls of GET.
async function reads(client) {
  return Number(/cmdstat_get:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0);
}

async function clientSideCache() {
  const writer = await connect();
  const clientSideCache = new BasicClientSideCache({ ttl: 0, maxEntries: 100, evictPolicy: 'LRU' });
  const reader = await connect({ RESP: 3, clientSideCache });
  await writer.set('profile', 'old');
  assert.equal(await reader.get('profile'), 'old');
  const before = await reads(writer);
  for (let n = 0; n < 100; n += 1) assert.equal(await reader.get('profile'), 'old');
  assert.equal(await reads(writer), before);
  assert.equal(clientSideCache.stats().hitCount, 100);
  const changes = [
    [() => writer.set('profile', 'new'), 'new'],
    [() => writer.append('profile', 'er'), 'newer'],
    [() => reader.set('profile', 'own'), 'own'],
    [() => writer.pExpire('profile', 20), null],
    [() => writer.set('profile', 'back'), 'back'],
    [() => writer.del('profile'), null],
    [() => writer.multi().set('profile', 'x').set('profile', 'y').exec(), 'y'],
    [() => writer.flushAll(), null],
  ];
  for (const [change, wanted] of changes) {
    await change();
    await eventually(`the value ${wanted}`, async () => (await reader.get('profile')) === wanted);
  }
  // Collections are cached by key, too.
  await writer.hSet('user', { name: 'ann' });
  assert.equal((await reader.hGetAll('user')).name, 'ann');
  await writer.hSet('user', 'name', 'bob');
  await eventually('the new name', async () => (await reader.hGetAll('user')).name === 'bob');
  // A cache that outlived its connection could be stale, so it is emptied.
  await reader.get('profile');
  assert.ok((await writer.clientKill({ filter: 'SKIPME', skipMe: 'yes' })) >= 1);
  await writer.set('profile', 'changed meanwhile');
  await eventually('the changed value', async () => {
    try {
      return (await reader.get('profile')) === 'changed meanwhile';
    } catch {
      return false;
    }
  });
  reader.destroy();
  writer.destroy();
}

async function clientSideCacheOfAPool() {
  const writer = await connect();
  await writer.set('shared', 'old');
  const clientSideCache = new BasicPooledClientSideCache({ ttl: 0, maxEntries: 100 });
  const pool = createClientPool({ url, RESP: 3 }, { minimum: 3, maximum: 3, clientSideCache });
  await pool.connect();
  await Promise.all(Array.from({ length: 30 }, async () => assert.equal(await pool.get('shared'), 'old')));
  await writer.set('shared', 'new');
  await eventually('the new value', async () => (await pool.get('shared')) === 'new');
  pool.destroy();
  writer.destroy();
}

await main([transactions, counters, pubSub, clientSideCache, clientSideCacheOfAPool]);
