// keyv over node-redis, and cache-manager over keyv: values, expiry, namespaces, several keys at once.
import { assert, eventually, load, main, url } from './checks.mjs';

const { Keyv } = load('keyv');
const { default: KeyvRedis, createKeyv } = load('@keyv/redis');
const { createCache } = load('cache-manager');

async function keyv() {
  const [users, orders] = [createKeyv(url, { namespace: 'users' }), createKeyv(url, { namespace: 'orders' })];
  await users.clear();
  assert.equal(await users.set('ann', { age: 30, tags: ['a'] }), true);
  assert.deepEqual(await users.get('ann'), { age: 30, tags: ['a'] });
  assert.equal(await orders.get('ann'), undefined);
  assert.equal(await users.has('ann'), true);
  await users.set('soon', 1, 30);
  await eventually('the end of a value', async () => (await users.get('soon')) === undefined);
  // Several keys at once are one MULTI each.
  const many = Array.from({ length: 200 }, (_, n) => ({ key: `k${n}`, value: n, ttl: n % 2 ? 60_000 : undefined }));
  await users.setMany(many);
  assert.deepEqual(await users.getMany(['k0', 'k199', 'none']), [0, 199, undefined]);
  assert.deepEqual(await users.hasMany(['k0', 'none']), [true, false]);
  const seen = new Set();
  for await (const [key] of users.iterator()) seen.add(key);
  assert.equal(seen.size, 201);
  assert.equal(await users.deleteMany(['k0', 'k1']), true);
  assert.deepEqual(await users.getMany(['k0', 'k1', 'k2']), [undefined, undefined, 2]);
  await orders.set('kept', 1);
  await users.clear();
  assert.equal(await users.get('k2'), undefined);
  assert.equal(await orders.get('kept'), 1);
  await users.disconnect();
  await orders.disconnect();
}

async function cacheManager() {
  const [local, shared] = [new Keyv(), new Keyv({ store: new KeyvRedis(url), namespace: 'shared' })];
  const cache = createCache({ stores: [local, shared], ttl: 60_000 });
  await cache.clear();
  let computed = 0;
  const compute = async () => {
    computed += 1;
    return { computed };
  };
  const results = await Promise.all(Array.from({ length: 10 }, () => cache.wrap('key', compute)));
  assert.ok(results.every((result) => result.computed === 1) && computed === 1);
  // Another process has nothing in its memory yet, and finds the value in the shared store.
  const other = createCache({ stores: [new Keyv(), new Keyv({ store: new KeyvRedis(url), namespace: 'shared' })] });
  assert.deepEqual(await other.wrap('key', compute), { computed: 1 });
  await cache.mset([{ key: 'a', value: 1 }, { key: 'b', value: 2, ttl: 40 }]);
  assert.deepEqual(await other.mget(['a', 'none']), [1, undefined]);
  await eventually('the end of a value', async () => (await cache.get('b')) === undefined);
  assert.ok((await cache.ttl('a')) > Date.now());
  await cache.mdel(['a', 'key']);
  assert.deepEqual(await cache.mget(['a', 'key']), [undefined, undefined]);
  await cache.disconnect();
  await other.disconnect();
}

await main([keyv, cacheManager]);
