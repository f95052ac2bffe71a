// Scripts and functions in the two clients for Node: custom commands, in pipelines and transactions.
import { assert, load, main, url } from './checks.mjs';

const { Redis } = load('ioredis');
const { createClient, defineScript } = load('redis');

const ADD_UNLESS_FULL = `
  if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[1]) then return redis.error_reply('FULL of members') end
  return {redis.call('SADD', KEYS[1], unpack(ARGV, 2)), redis.call('SCARD', KEYS[1]), ARGV[2]}`;

function ioredisWithCommands() {
  const redis = new Redis(url, { scripts: { total: { lua: 'return #KEYS + #ARGV', readOnly: true } } });
  redis.defineCommand('addUnlessFull', { numberOfKeys: 1, lua: ADD_UNLESS_FULL });
  redis.defineCommand('echo', { lua: 'return {KEYS[1], ARGV[1], ARGV[2]}' });
  return redis;
}

async function ioredis() {
  const redis = ioredisWithCommands();
  assert.deepEqual(await redis.addUnlessFull('set', 3, 'a', 'b'), [2, 2, 'a']);
  assert.deepEqual(await redis.addUnlessFull('set', 3, 'c'), [1, 3, 'c']);
  await assert.rejects(redis.addUnlessFull('set', 3, 'd'), /^ReplyError: FULL of members/);
  assert.equal(await redis.total(2, 'a', 'b', 'c'), 3);
  const bytes = Buffer.from([0, 255, 10, 13, 128]);
  assert.deepEqual(await redis.echoBuffer(1, 'key', bytes, 'für'), [Buffer.from('key'), bytes, Buffer.from('für')]);
  // Before the first pipeline, the client checks which scripts the server has, and loads the others.
  for (const batch of ['pipeline', 'multi']) {
    await redis.script('FLUSH');
    const another = ioredisWithCommands();
    const calls = another[batch]().set('n', 1).addUnlessFull('other', 3, 'a').incr('n').echo(1, 'n', 1, 2);
    const wanted = [[null, 'OK'], [null, [1, 1, 'a']], [null, 2], [null, ['n', '1', '2']]];
    assert.deepEqual(await calls.exec(), wanted);
    await redis.del('other');
    another.disconnect();
  }
  await redis.script('FLUSH');
  assert.equal(await redis.total(1, 'a'), 1);
  const sha = await redis.script('LOAD', 'return 7');
  assert.deepEqual(await redis.script('EXISTS', sha, '0'.repeat(40)), [1, 0]);
  assert.equal(await redis.evalsha(sha, 0), 7);
  redis.disconnect();
}

const LIBRARY = `#!lua name=shop
  redis.register_function('buy', function(keys, args)
    local left = redis.call('DECRBY', keys[1], args[1])
    if left < 0 then
      redis.call('INCRBY', keys[1], args[1])
      return redis.error_reply('SOLD out')
    end
    return {left, redis.call('RPUSH', keys[2], args[2])}
  end)
  redis.register_function{
    function_name = 'left', callback = function(keys) return redis.call('GET', keys[1]) end, flags = {'no-writes'}
  }`;

/// The description of a function or a script for node-redis.
const described = (more) => ({
  NUMBER_OF_KEYS: 1,
  parseCommand(parser, keys, ...args) {
    [keys].flat().forEach((key) => parser.pushKey(key));
    parser.push(...args);
  },
  transformReply: undefined,
  ...more,
});

async function nodeRedis() {
  for (const RESP of [2, 3]) {
    const client = createClient({
      url,
      RESP,
      scripts: {
        addUnlessFull: defineScript({ ...described(), SCRIPT: ADD_UNLESS_FULL }),
        square: defineScript({ ...described(), NUMBER_OF_KEYS: 0, SCRIPT: 'return ARGV[1] * ARGV[1]',
          parseCommand: (parser, n) => parser.push(String(n)), transformReply: (reply) => `${reply}` }),
      },
      functions: { shop: { buy: described({ NUMBER_OF_KEYS: 2 }), left: described({ IS_READ_ONLY: true }) } },
    });
    await client.connect();
    await client.flushAll();
    await client.scriptFlush();
    assert.deepEqual(await client.addUnlessFull('set', '2', 'a', 'b'), [2, 2, 'a']);
    await assert.rejects(client.addUnlessFull('set', '2', 'c'), /FULL of members/);
    assert.equal(await client.square(12), '144');
    assert.deepEqual(await client.multi().set('n', '1').square(3).incr('n').exec(), ['OK', '9', 2]);
    const numbers = Array.from({ length: 100 }, (_, n) => n);
    assert.deepEqual(await Promise.all(numbers.map((n) => client.square(n))), numbers.map((n) => `${n * n}`));
    const mixed = 'return {1.9, false, {ok = "fine"}, ARGV[1], nil, "never"}';
    assert.deepEqual(await client.eval(mixed, { arguments: ['x'] }), [1, null, 'fine', 'x']);

    assert.equal(await client.functionLoad(LIBRARY, { REPLACE: true }), 'shop');
    await client.set('stock', '5');
    assert.deepEqual(await client.shop.buy(['stock', 'orders'], '3', 'ann'), [2, 1]);
    await assert.rejects(client.shop.buy(['stock', 'orders'], '3', 'bob'), /SOLD out/);
    assert.equal(await client.shop.left('stock'), '2');
    assert.deepEqual(await client.lRange('orders', 0, -1), ['ann']);
    const [{ library_name: name, functions }] = await client.functionList();
    assert.deepEqual([name, functions.map((each) => each.name).sort()], ['shop', ['buy', 'left']]);
    await assert.rejects(client.functionLoad(LIBRARY), /already exists/);
    const dump = await client.withTypeMapping({ 36: Buffer }).functionDump();
    assert.equal(await client.functionFlush(), 'OK');
    await assert.rejects(client.shop.left('stock'), /Function not found/);
    await client.functionRestore(dump);
    assert.equal(await client.fCallRo('left', { keys: ['stock'], arguments: [] }), '2');
    assert.equal(await client.functionDelete('shop'), 'OK');
    client.destroy();
  }
}

await main([ioredis, nodeRedis]);
