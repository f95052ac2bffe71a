// ioredis works against the server whose port is the first argument and whose password is the second.
import { assert, load, once, refused, runAll } from './checks.mjs';

const { Redis } = load('ioredis');
const [port, password] = process.argv.slice(2);

function connect(options) {
  return new Redis({ host: '127.0.0.1', port: Number(port), password, retryStrategy: null, ...options });
}

async function strings(client) {
  assert.equal(await client.set('key', 'value', 'EX', 100), 'OK');
  assert.equal(await client.get('key'), 'value');
  assert.equal(await client.get('none'), null);
  assert.equal(await client.set('key', 'other', 'NX'), null);
  assert.ok((await client.ttl('key')) > 90);
  assert.deepEqual(await client.mget('key', 'none'), ['value', null]);
  assert.equal(await client.incr('n'), 1);
  assert.equal(await client.incrbyfloat('f', 0.1), '0.1');
  await refused(client.incr('key'), 'value is not an integer or out of range');
  const raw = Buffer.from([0, 255, 13, 10, 128]);
  await client.set('raw', raw);
  assert.deepEqual(await client.getBuffer('raw'), raw);
}

async function bitsAndCounters(client) {
  assert.equal(await client.setbit('bits', 7, 1), 0);
  assert.equal(await client.bitcount('bits'), 1);
  assert.deepEqual(await client.bitfield('bits', 'GET', 'u8', 0, 'INCRBY', 'u8', 0, 5), [1, 6]);
  assert.equal(await client.pfadd('hll', 'a', 'b'), 1);
  assert.equal(await client.pfcount('hll'), 2);
}

async function keys(client) {
  const pipeline = client.pipeline();
  for (let n = 0; n < 300; n += 1) pipeline.set(`key:${n}`, n);
  const replies = await pipeline.exec();
  assert.ok(replies.length === 300 && replies.every(([error, reply]) => error === null && reply === 'OK'));
  const found = new Set();
  for await (const some of client.scanStream({ match: 'key:*', count: 50 })) some.forEach((key) => found.add(key));
  assert.equal(found.size, 300);
  assert.equal(await client.rename('key:1', 'renamed'), 'OK');
  assert.equal(await client.copy('renamed', 'copied'), 1);
  assert.equal(await client.object('ENCODING', 'copied'), 'int');
  assert.equal(await client.del('renamed', 'copied', 'none'), 2);
}

async function server(client) {
  assert.match(await client.info('server'), /redis_version:7\./);
  assert.deepEqual(await client.config('GET', 'hz'), ['hz', '10']);
  assert.match(await client.client('LIST'), /name=io/);
  assert.ok(Array.isArray(await client.slowlog('GET', 5)));
  assert.equal(await client.select(5), 'OK');
  assert.equal(await client.select(0), 'OK');
}

async function monitoring(client) {
  const monitor = await client.monitor();
  const seen = once((resolve) => monitor.on('monitor', (time, args) => args[1] === 'watched' && resolve(args)));
  await client.set('watched', '1');
  assert.deepEqual((await seen).map((arg) => arg.toLowerCase()), ['set', 'watched', '1']);
  monitor.disconnect();
}

const client = connect({ connectionName: 'io' });
await runAll([strings, bitsAndCounters, keys, server, monitoring], client, () => client.flushall());
await client.quit();
const url = new Redis(`redis://default:${password}@127.0.0.1:${port}/5`);
assert.equal(await url.set('five', '5'), 'OK');
assert.match(await url.client('INFO'), /db=5/);
url.disconnect();
console.log('all passed: RESP2');
process.exit(0);
