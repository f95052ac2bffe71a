// ioredis' Cluster during failovers and resharding: ioredis_cluster.mjs PORTS TAGS.
import { PAIR, assert, load, obey, ports, publishAll, refused, tags } from './cluster_load.mjs';

const { Cluster } = load('ioredis');

function connect() {
  const nodes = ports.map((port) => ({ host: '127.0.0.1', port: Number(port) }));
  const cluster = new Cluster(nodes, { shardedSubscribers: true });
  cluster.defineCommand('pair', { numberOfKeys: 2, lua: PAIR });
  return cluster;
}

async function typicalRequests(cluster) {
  const numbers = Array.from({ length: 300 }, (_, n) => n);
  assert.equal(await cluster.set('key', 'value'), 'OK');
  assert.equal(await cluster.get('key'), 'value');
  await Promise.all(numbers.map((n) => cluster.set(`many:${n}`, n)));
  assert.deepEqual(await Promise.all(numbers.map((n) => cluster.incr(`many:${n}`))), numbers.map((n) => n + 1));
  assert.equal(await cluster.mset('{tag}:a', 1, '{tag}:b', 2), 'OK');
  assert.deepEqual(await cluster.mget('{tag}:a', '{tag}:b'), ['1', '2']);
  await refused(cluster.mset('a', 1, 'b', 2), 'CROSSSLOT');
  const found = [];
  for (const node of cluster.nodes('master')) {
    for await (const keys of node.scanStream({ match: 'many:*', count: 7 })) found.push(...keys);
  }
  assert.deepEqual(found.sort(), numbers.map((n) => `many:${n}`).sort());
  const piped = await cluster.pipeline().incr('{tag}:a').incr('{tag}:b').get('{tag}:a').exec();
  assert.deepEqual(piped, [[null, 2], [null, 3], [null, '2']]);
  const both = await cluster.multi().incr('{tag}:a').incr('{tag}:b').exec();
  assert.deepEqual(both, [[null, 3], [null, 4]]);
  assert.deepEqual(await cluster.pair('{tag}:a', '{tag}:b'), [4, 5]);
  assert.equal(await cluster.eval("return redis.call('GET', KEYS[1])", 1, '{tag}:b'), '5');
  const sizes = await Promise.all(cluster.nodes('master').map((node) => node.dbsize()));
  assert.equal(sizes.reduce((sum, size) => sum + size), 303);
  await Promise.all(cluster.nodes('master').map((node) => node.flushall()));
}

/// Pub/sub and sharded pub/sub, on channels of all nodes.
async function messages(cluster) {
  const heard = new Set();
  cluster.on('smessage', (channel, message) => heard.add(message));
  cluster.on('message', (channel, message) => heard.add(message));
  for (const tag of tags) await cluster.ssubscribe(`{${tag}}:news`);
  await cluster.subscribe('news');
  await publishAll(heard, (...words) => cluster.spublish(...words), (...words) => cluster.publish(...words));
  for (const tag of tags) await cluster.sunsubscribe(`{${tag}}:news`);
  await cluster.unsubscribe('news');
}

const results = (replies) => replies.map(([error, reply]) => {
  if (error) throw error;
  return reply;
});

function* requests({ single, pair, texts }, state, mode) {
  yield async () => [await cluster.incr(single), state.count + 1];
  yield async () => [await cluster.get(single), String(state.count + 1)];
  state.count += 1;
  yield async () => [await cluster.mset(...texts.flatMap((key) => [key, state.text])), 'OK'];
  yield async () => [await cluster.mget(texts), [state.text, state.text]];
  state.pairs += 1;
  yield async () => [await cluster.pair(pair), [state.pairs, state.pairs]];
  state.pairs += 1;
  yield async () => {
    const pipeline = cluster.pipeline().incr(pair[0]).incr(pair[1]);
    return [results(await pipeline.exec()), [state.pairs, state.pairs]];
  };
  if (mode === 'failover') {
    state.pairs += 1;
    yield async () => {
      const transaction = cluster.multi().incr(pair[0]).incr(pair[1]);
      return [results(await transaction.exec()), [state.pairs, state.pairs]];
    };
  }
}

const cluster = connect();
await typicalRequests(cluster);
await messages(cluster);
await obey(requests);
