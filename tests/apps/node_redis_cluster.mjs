// node-redis' createCluster during failovers and resharding: node_redis_cluster.mjs PORTS TAGS.
import { PAIR, assert, load, obey, ports, publishAll, refused, tags } from './cluster_load.mjs';

const { createCluster, defineScript } = load('redis');

async function connect(RESP) {
  const pair = defineScript({
    SCRIPT: PAIR,
    NUMBER_OF_KEYS: 2,
    parseCommand: (parser, keys) => parser.pushKeys(keys),
    transformReply: undefined,
  });
  const rootNodes = ports.map((port) => ({ url: `redis://127.0.0.1:${port}` }));
  const cluster = createCluster({ RESP, rootNodes, scripts: { pair } });
  // The client reconnects by itself.
  cluster.on('error', (error) => console.log('event:', error.message));
  return cluster.connect();
}

async function typicalRequests(cluster) {
  const numbers = Array.from({ length: 300 }, (_, n) => n);
  assert.equal(await cluster.set('key', 'value'), 'OK');
  assert.equal(await cluster.get('key'), 'value');
  await Promise.all(numbers.map((n) => cluster.set(`many:${n}`, n)));
  assert.deepEqual(await Promise.all(numbers.map((n) => cluster.incr(`many:${n}`))), numbers.map((n) => n + 1));
  assert.equal(await cluster.mSet({ '{tag}:a': '1', '{tag}:b': '2' }), 'OK');
  assert.deepEqual(await cluster.mGet(['{tag}:a', '{tag}:b']), ['1', '2']);
  await refused(cluster.mSet({ a: '1', b: '2' }), 'CROSSSLOT');
  const [found, sizes] = [[], []];
  for (const master of cluster.masters) {
    const client = await cluster.nodeClient(master);
    for await (const keys of client.scanIterator({ MATCH: 'many:*', COUNT: 7 })) found.push(...keys);
    sizes.push(await client.dbSize());
  }
  assert.deepEqual(found.sort(), numbers.map((n) => `many:${n}`).sort());
  assert.equal(sizes.reduce((sum, size) => sum + size), 303);
  assert.deepEqual(await cluster.multi().incr('{tag}:a').incr('{tag}:b').get('{tag}:a').exec(), [2, 3, '2']);
  assert.deepEqual(await cluster.multi().incr('{tag}:a').incr('{tag}:b').execAsPipeline(), [3, 4]);
  assert.deepEqual(await cluster.pair(['{tag}:a', '{tag}:b']), [4, 5]);
  assert.equal(await cluster.eval("return redis.call('GET', KEYS[1])", { keys: ['{tag}:b'] }), '5');
  await Promise.all(cluster.masters.map(async (master) => (await cluster.nodeClient(master)).flushAll()));
}

/// Pub/sub and sharded pub/sub, on channels of all nodes.
async function messages(cluster) {
  const heard = new Set();
  const hear = (message) => heard.add(message);
  for (const tag of tags) await cluster.sSubscribe(`{${tag}}:news`, hear);
  await cluster.subscribe('news', hear);
  await publishAll(heard, (...words) => cluster.sPublish(...words), (...words) => cluster.publish(...words));
  for (const tag of tags) await cluster.sUnsubscribe(`{${tag}}:news`);
  await cluster.unsubscribe('news');
}

/// Has no pipelines or transactions: node-redis does not resend them to another node.
function* requests(cluster, { single, pair, texts }, state) {
  yield async () => [await cluster.incr(single), state.count + 1];
  yield async () => [await cluster.get(single), String(state.count + 1)];
  state.count += 1;
  yield async () => [await cluster.mSet(texts.map((key) => [key, state.text])), 'OK'];
  yield async () => [await cluster.mGet(texts), [state.text, state.text]];
  state.pairs += 1;
  yield async () => [await cluster.pair(pair), [state.pairs, state.pairs]];
}

const cluster = await connect(3);
await typicalRequests(cluster);
await messages(cluster);
await obey((...round) => requests(cluster, ...round));
