// node-redis works against the server whose port is the first argument and whose password is the second: handshakes in
// both protocols, by URL and by options, and the basic examples of its documentation. If the third argument is a
// directory of certificates, it uses TLS.
import { readFileSync } from 'node:fs';
import { assert, load, once, refused, runAll } from './checks.mjs';

const { createClient, RESP_TYPES } = load('redis');
const [port, password, directory] = process.argv.slice(2);
const certificate = (name) => readFileSync(`${directory}/${name}`);
const tls = directory && {
  tls: true,
  ca: certificate('ca.crt'),
  cert: certificate('client.crt'),
  key: certificate('client.key'),
};
const scheme = directory ? 'rediss' : 'redis';

async function connect(options) {
  const client = createClient({
    socket: { host: '127.0.0.1', port: Number(port), reconnectStrategy: false, ...tls },
    password,
    ...options,
  });
  client.on('error', (error) => {
    throw error;
  });
  await client.connect();
  return client;
}

/// The same client with replies as bytes.
function binary(client) {
  return client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
}

async function strings(client) {
  assert.equal(await client.set('key', 'value'), 'OK');
  assert.equal(await client.get('key'), 'value');
  assert.equal(await client.get('none'), null);
  assert.equal(await client.set('key', 'other', { condition: 'NX' }), null);
  assert.equal(await client.set('key', 'other', { GET: true, expiration: { type: 'EX', value: 100 } }), 'value');
  assert.ok((await client.ttl('key')) > 90);
  assert.equal(await client.append('key', '!'), 6);
  assert.equal(await client.strLen('key'), 6);
  assert.equal(await client.setRange('key', 1, 'TH'), 6);
  assert.equal(await client.getRange('key', 0, 2), 'oTH');
  assert.equal(await client.getSet('key', 'new'), 'oTHer!');
  assert.equal(await client.getDel('key'), 'new');
  assert.equal(await client.mSet({ a: '1', b: '2' }), 'OK');
  assert.deepEqual(await client.mGet(['a', 'none', 'b']), ['1', null, '2']);
  assert.deepEqual([await client.incr('a'), await client.incrBy('a', 9), await client.decr('a')], [2, 11, 10]);
  assert.equal(await client.incrByFloat('f', 0.5), '0.5');
  await client.mSet({ one: 'ohmytext', two: 'mynewtext' });
  assert.equal(await client.lcs('one', 'two'), 'mytext');
  assert.equal(await client.lcsLen('one', 'two'), 6);
  assert.equal((await client.lcsIdx('one', 'two')).len, 6);
  await refused(client.incr('one'), 'value is not an integer or out of range');
}

async function bytes(client) {
  const raw = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
  await client.set('raw', raw);
  assert.deepEqual(await binary(client).get('raw'), raw);
  const dump = await binary(client).dump('raw');
  assert.equal(await client.restore('copy', 0, dump), 'OK');
  assert.deepEqual(await binary(client).get('copy'), raw);
  await refused(client.restore('copy', 0, dump), 'BUSYKEY');
  await refused(client.restore('bad', 0, Buffer.from('nonsense')), 'DUMP payload version or checksum are wrong');
}

async function bits(client) {
  assert.equal(await client.setBit('bits', 7, 1), 0);
  assert.equal(await client.getBit('bits', 7), 1);
  assert.equal(await client.bitCount('bits'), 1);
  assert.equal(await client.bitPos('bits', 1), 7);
  assert.equal(await client.bitOp('NOT', 'flipped', 'bits'), 1);
  assert.equal(await client.bitCount('flipped'), 7);
  const operations = [
    { operation: 'SET', encoding: 'u8', offset: 0, value: 200 },
    { operation: 'OVERFLOW', behavior: 'SAT' },
    { operation: 'INCRBY', encoding: 'u8', offset: 0, increment: 100 },
  ];
  assert.deepEqual(await client.bitField('bits', operations), [1, 255]);
}

async function hyperloglogs(client) {
  assert.equal(Number(await client.pfAdd('one', ['a', 'b', 'c'])), 1);
  assert.equal(Number(await client.pfAdd('one', ['a'])), 0);
  await client.pfAdd('two', ['c', 'd']);
  assert.equal(await client.pfCount(['one', 'two']), 4);
  assert.equal(await client.pfMerge('all', ['one', 'two']), 'OK');
  assert.equal(await client.pfCount('all'), 4);
}

async function keys(client) {
  const wanted = Array.from({ length: 300 }, (_, n) => `key:${n}`).sort();
  await Promise.all(wanted.map((key) => client.set(key, 'x')));
  assert.equal(await client.dbSize(), 300);
  const found = [];
  for await (const some of client.scanIterator({ MATCH: 'key:*', COUNT: 50, TYPE: 'string' })) {
    found.push(...[some].flat());
  }
  assert.deepEqual([...new Set(found)].sort(), wanted);
  assert.equal((await client.keys('key:1?')).length, 10);
  assert.ok(wanted.includes(await client.randomKey()));
  assert.equal(await client.rename('key:1', 'renamed'), 'OK');
  assert.equal(await client.copy('renamed', 'copied'), 1);
  assert.equal(await client.exists(['renamed', 'copied', 'key:1']), 2);
  assert.equal(await client.move('copied', 1), 1);
  assert.equal(await client.swapDb(0, 1), 'OK');
  assert.deepEqual(await client.keys('*'), ['copied']);
  assert.equal(await client.swapDb(0, 1), 'OK');
  assert.equal(await client.type('renamed'), 'string');
  assert.equal(await client.objectEncoding('renamed'), 'embstr');
  assert.equal(await client.expire('renamed', 100), 1);
  assert.ok((await client.pTTL('renamed')) > 90_000);
  assert.equal(await client.persist('renamed'), 1);
  assert.equal(await client.unlink(['renamed', 'none']), 1);
  assert.equal(await client.wait(0, 10), 0);
  await refused(client.rename('none', 'other'), 'no such key');
}

async function pipelines(client) {
  const replies = await client.multi().set('n', '1').incr('n').get('n').execAsPipeline();
  assert.deepEqual(replies, ['OK', 2, '2']);
  const many = await Promise.all(Array.from({ length: 1000 }, () => client.incr('many')));
  assert.deepEqual(many, Array.from({ length: 1000 }, (_, n) => n + 1));
}

async function server(client) {
  assert.equal(await client.ping(), 'PONG');
  assert.equal(await client.echo('hello'), 'hello');
  assert.match(await client.info('server'), /redis_version:7\./);
  assert.deepEqual({ ...(await client.configGet('hz')) }, { hz: '10' });
  assert.equal(await client.configSet('timeout', '0'), 'OK');
  assert.equal(await client.clientSetName('me'), 'OK');
  assert.equal(await client.clientGetName(), 'me');
  const id = await client.clientId();
  assert.ok((await client.clientList()).some((other) => other.id === id && other.name === 'me'));
  assert.equal((await client.clientInfo()).id, id);
  assert.ok((await client.commandCount()) > 100);
  assert.deepEqual(await client.commandGetKeys(['MSET', 'a', '1', 'b', '2']), ['a', 'b']);
  assert.ok((await client.time()).length === 2 || (await client.time()) instanceof Date);
  await client.set('k', 'v');
  assert.ok((await client.memoryUsage('k')) > 0);
  assert.ok((await client.memoryStats())['keys.count'] >= 1);
  assert.ok(Array.isArray(await client.latencyLatest()));
  assert.ok(Array.isArray(await client.sendCommand(['SLOWLOG', 'GET', '5'])));
  assert.equal((await client.role())[0] ?? (await client.role()).role, 'master');
  await refused(client.sendCommand(['NOSUCH']), 'unknown command');
}

async function monitoring(client) {
  const watcher = await connect({});
  const line = once((resolve) => watcher.monitor((text) => text.includes('"watched"') && resolve(text)));
  await client.set('watched', '1');
  // MONITOR may start after the first command, which is therefore repeated until it appears.
  let seen = false;
  line.then(() => (seen = true));
  while (!seen) await client.set('watched', '1');
  assert.match(String(await line), /"SET" "watched" "1"/);
  watcher.destroy();
}

const tests = [strings, bytes, bits, hyperloglogs, keys, pipelines, server, monitoring];
const passed = [];
for (const RESP of [2, 3]) {
  const client = await connect({ RESP, name: `node-${RESP}` });
  assert.equal(await client.clientGetName(), `node-${RESP}`);
  const info = String(await client.sendCommand(['CLIENT', 'INFO']));
  assert.ok(info.includes(` resp=${RESP}`), info);
  // The reply to the handshake contains it since 7.2.
  assert.ok(info.includes(' lib-name=node-redis ') || !info.includes(' lib-name='), info);
  await runAll(tests, client, () => client.flushAll());
  await client.close();
  const url = createClient({
    url: `${scheme}://default:${password}@127.0.0.1:${port}/5`,
    socket: { ...tls },
    RESP,
  });
  await url.connect();
  await url.set('five', '5');
  assert.match((await url.sendCommand(['CLIENT', 'INFO'])).toString(), /db=5/);
  await url.close();
  passed.push(`RESP${RESP}`);
}
const wrong = createClient({
  url: `${scheme}://:wrong@127.0.0.1:${port}/`,
  socket: { reconnectStrategy: false, ...tls },
});
wrong.on('error', () => {});
await refused(wrong.connect(), 'WRONGPASS');
console.log('all passed:', ...passed);
process.exit(0);
