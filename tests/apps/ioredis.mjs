// Features of ioredis beyond single commands: transactions and pipelines, pub/sub, and keyspace notifications.
import { assert, eventually, load, main, url } from './checks.mjs';

const { Redis } = load('ioredis');

async function transactions() {
  const redis = new Redis(url);
  await redis.flushall();
  const replies = await redis.multi().set('key', '1').incr('key').lpush('list', 'a').incr('list').get('key').exec();
  assert.deepEqual(replies.map(([, reply]) => reply), ['OK', 2, 1, undefined, '2']);
  assert.match(replies[3][0].message, /WRONGTYPE/);
  // One by one, as with `pipeline: false`.
  await redis.multi({ pipeline: false });
  assert.equal(await redis.set('key', '5'), 'QUEUED');
  assert.equal(await redis.get('key'), 'QUEUED');
  assert.deepEqual(await redis.exec(), [[null, 'OK'], [null, '5']]);
  await assert.rejects(redis.multi().set('key').incr('key').exec(), /EXECABORT/);
  assert.equal(await redis.get('key'), '5');
  const other = new Redis(url);
  await redis.watch('key');
  await other.incr('key');
  assert.equal(await redis.multi().set('key', '0').exec(), null);
  await redis.watch('key');
  await redis.unwatch();
  await other.incr('key');
  assert.deepEqual(await redis.multi().get('key').exec(), [[null, '7']]);
  const both = await redis.pipeline().set('a', '1').multi().incr('a').exec().get('a').exec();
  assert.deepEqual(both.at(-1), [null, '2']);
  redis.disconnect();
  other.disconnect();
}

async function automaticPipelines() {
  const redis = new Redis(url, { enableAutoPipelining: true });
  const numbers = Array.from({ length: 1_000 }, (_, n) => n);
  await Promise.all(numbers.map((n) => redis.set(`key:${n}`, n)));
  assert.deepEqual(await Promise.all(numbers.map((n) => redis.get(`key:${n}`))), numbers.map(String));
  redis.disconnect();
}

async function pubSub() {
  const [publisher, subscriber] = [new Redis(url), new Redis(url)];
  const heard = [];
  subscriber.on('message', (channel, message) => heard.push(`${channel}: ${message}`));
  subscriber.on('pmessage', (pattern, channel, message) => heard.push(`${pattern} ${channel}: ${message}`));
  subscriber.on('smessage', (channel, message) => heard.push(`shard ${channel}: ${message}`));
  assert.equal(await subscriber.subscribe('news', 'weather'), 2);
  assert.equal(await subscriber.psubscribe('n*'), 3);
  assert.equal(await subscriber.ssubscribe('shard'), 1);
  assert.equal(await publisher.publish('news', 'hello'), 2);
  assert.equal(await publisher.spublish('shard', 'one'), 1);
  await eventually('three messages', () => heard.length === 3);
  assert.deepEqual(heard.sort(), ['n* news: hello', 'news: hello', 'shard shard: one']);
  assert.equal(await publisher.client('KILL', 'TYPE', 'pubsub'), 1);
  await eventually('the subscriptions again', async () => (await publisher.publish('news', 'again')) === 2);
  await eventually('the message', () => heard.includes('news: again'));
  assert.equal(await subscriber.unsubscribe('news', 'weather'), 1);
  assert.equal(await subscriber.punsubscribe('n*'), 0);
  publisher.disconnect();
  subscriber.disconnect();
}

async function expiredSessions() {
  const [redis, subscriber] = [new Redis(url), new Redis(url)];
  const [, before] = await redis.config('GET', 'notify-keyspace-events');
  await redis.config('SET', 'notify-keyspace-events', 'Ex');
  const ended = [];
  subscriber.on('message', (channel, key) => ended.push(`${channel} ${key}`));
  await subscriber.subscribe('__keyevent@0__:expired');
  await redis.set('session:1', 'x', 'PX', 10);
  await redis.set('session:2', 'x');
  await redis.del('session:2');
  await eventually('the event', () => ended.length > 0);
  assert.deepEqual(ended, ['__keyevent@0__:expired session:1']);
  await redis.config('SET', 'notify-keyspace-events', before);
  redis.disconnect();
  subscriber.disconnect();
}

await main([transactions, automaticPipelines, pubSub, expiredSessions]);
