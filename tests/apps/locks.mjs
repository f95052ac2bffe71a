// Locks shared by several processes: redlock, and the mutexes and semaphores of redis-semaphore.
import { assert, eventually, load, main, url } from './checks.mjs';

const { Redis } = load('ioredis');
const Redlock = load('redlock');
const { MultiSemaphore, Mutex, RedlockMutex, Semaphore } = load('redis-semaphore');

// Longer than any test, so that an early end would be the lock's fault.
const LONG_MS = 60_000;
const redis = new Redis(url);
const other = new Redis(url);

/// The most concurrent runs of `work` when `count` of them acquire and release `take(n)`.
async function crowd(count, take) {
  let [running, most, all] = [0, 0, 0];
  await Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const giveBack = await take(n);
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running -= 1;
      all += 1;
      await giveBack();
    }),
  );
  assert.equal(all, count);
  return most;
}

async function redlock() {
  const patient = { retryCount: -1, retryDelay: 5, retryJitter: 5 };
  const locks = [new Redlock([redis], patient), new Redlock([other], patient)];
  const most = await crowd(20, async (n) => {
    const lock = await locks[n % 2].lock('lock:crowd', LONG_MS);
    return () => lock.unlock();
  });
  assert.equal(most, 1);

  const once = new Redlock([other], { retryCount: 0 });
  const lock = await locks[0].lock(['lock:a', 'lock:b'], LONG_MS);
  await assert.rejects(once.lock('lock:b', 1_000), { name: 'LockError' });
  assert.ok((await lock.extend(2 * LONG_MS)).expiration > Date.now() + LONG_MS);
  assert.ok((await redis.pttl('lock:a')) > LONG_MS);
  await lock.unlock();
  assert.equal(await redis.exists('lock:a', 'lock:b'), 0);
  // A lock that has expired belongs to another owner, and releasing it does not affect that owner.
  const short = await once.lock('lock:short', 50);
  const next = await locks[0].lock('lock:short', LONG_MS);
  await assert.rejects(short.unlock());
  await assert.rejects(short.extend(1_000));
  assert.equal(await redis.get('lock:short'), next.value);
  // The client sends the scripts again to a server that has lost them.
  await redis.script('FLUSH');
  await next.unlock();
  assert.equal(await redis.exists('lock:short'), 0);
}

async function mutex() {
  const options = { lockTimeout: LONG_MS, retryInterval: 5, acquireTimeout: LONG_MS };
  const most = await crowd(20, async (n) => {
    const mutex = new Mutex([redis, other][n % 2], 'crowd', options);
    await mutex.acquire();
    return () => mutex.release();
  });
  assert.equal(most, 1);
  const first = new Mutex(redis, 'short', { lockTimeout: 50, refreshInterval: 0 });
  await first.acquire();
  const second = new Mutex(other, 'short', options);
  assert.equal(await new Mutex(other, 'short', { acquireAttemptsLimit: 1 }).tryAcquire(), false);
  await second.acquire();
  assert.equal(await redis.get('mutex:short'), second.identifier);
  await first.release();
  assert.equal(await redis.get('mutex:short'), second.identifier);
  await second.release();
  // A lock that is held longer than its expiry is renewed.
  const renewed = new Mutex(redis, 'renewed', { lockTimeout: 2_000, refreshInterval: 10 });
  await renewed.acquire();
  const deadlines = new Set();
  await eventually('three renewals', async () => {
    deadlines.add(await redis.pexpiretime('mutex:renewed'));
    return deadlines.size > 3;
  });
  await renewed.release();
  const both = new RedlockMutex([redis], 'both', options);
  await both.acquire();
  assert.equal(await new RedlockMutex([other], 'both', { acquireAttemptsLimit: 1 }).tryAcquire(), false);
  await both.release();
  assert.deepEqual(await redis.keys('mutex:*'), []);
}

async function semaphore() {
  const options = { lockTimeout: LONG_MS, retryInterval: 5, acquireTimeout: LONG_MS };
  const most = await crowd(20, async (n) => {
    const semaphore = new Semaphore([redis, other][n % 2], 'crowd', 3, options);
    await semaphore.acquire();
    return () => semaphore.release();
  });
  assert.ok(most >= 2 && most <= 3, `${most} at once`);
  const four = new MultiSemaphore(redis, 'several', 5, 4, options);
  await four.acquire();
  assert.equal(await new MultiSemaphore(other, 'several', 5, 2, { acquireAttemptsLimit: 1 }).tryAcquire(), false);
  const one = new MultiSemaphore(other, 'several', 5, 1, options);
  await one.acquire();
  assert.equal(await redis.zcard('semaphore:several'), 5);
  await four.release();
  await one.release();
  assert.equal(await redis.zcard('semaphore:several'), 0);
}

await main([redlock, mutex, semaphore]);
