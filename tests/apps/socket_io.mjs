// Two Socket.IO servers behind each of its Redis adapters: the clients of one receive the events that the other emits.
import { createServer } from 'node:http';
import { assert, eventually, load, main, url } from './checks.mjs';

const { createClient } = load('redis');
const { Redis } = load('ioredis');
const { Server } = load('socket.io');
const { io: connectSocket } = load('socket.io-client');
const { createAdapter, createShardedAdapter } = load('@socket.io/redis-adapter');
const { createAdapter: createStreamsAdapter } = load('@socket.io/redis-streams-adapter');
const { Emitter } = load('@socket.io/redis-emitter');

async function nodeRedis(options) {
  const client = createClient({ url, ...options });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/// Two servers with one adapter each, and two clients for each server.
async function cluster(adapter, options) {
  const servers = await Promise.all(
    [0, 1].map(async () => {
      const http = createServer();
      const io = new Server(http, { adapter: await adapter(), ...options });
      await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
      return io;
    }),
  );
  // The adapters find each other only after they have subscribed.
  await eventually('two servers', async () => {
    const counts = await Promise.all(servers.map((io) => io.of('/').adapter.serverCount()));
    return counts.every((count) => count === 2);
  });
  const sockets = await Promise.all(
    [0, 0, 1, 1].map(async (index) => {
      const { port } = servers[index].httpServer.address();
      const socket = connectSocket(`http://127.0.0.1:${port}`, { transports: ['websocket'], forceNew: true });
      socket.heard = [];
      socket.onAny((event, ...args) => typeof args.at(-1) !== 'function' && socket.heard.push([event, ...args]));
      await new Promise((resolve) => socket.on('connect', resolve));
      return socket;
    }),
  );
  return { servers, sockets };
}

/// Waits until these sockets have received an event. Returns the event's arguments for each socket.
async function heard(sockets, event, wanted) {
  const of = (socket) => socket.heard.filter(([name]) => name === event).map(([, ...args]) => args);
  await eventually(event, () => wanted.every((index) => of(sockets[index]).length > 0));
  return sockets.map(of);
}

/// The checks of each adapter.
async function check(adapter, options) {
  const { servers, sockets } = await cluster(adapter, options);
  const [first, second] = servers;

  first.emit('all', { text: 'hello' }, Buffer.from([1, 2, 255]));
  for (const [[message, bytes], ...more] of await heard(sockets, 'all', [0, 1, 2, 3])) {
    assert.deepEqual(message, { text: 'hello' });
    assert.deepEqual([...bytes], [1, 2, 255]);
    assert.equal(more.length, 0);
  }

  // A room with a member on each server, and an event that excludes one of them.
  await first.in(sockets[0].id).socketsJoin('room');
  second.in(sockets[0].id).socketsJoin('room');
  second.in(sockets[2].id).socketsJoin('room');
  await eventually('two members', async () => (await first.in('room').fetchSockets()).length === 2);
  second.to('room').emit('room', 1);
  second.emit('after', 1);
  await heard(sockets, 'after', [0, 1, 2, 3]);
  assert.deepEqual((await heard(sockets, 'room', [0, 2])).map((args) => args.length), [1, 0, 1, 0]);
  first.except('room').emit('others', 1);
  assert.deepEqual((await heard(sockets, 'others', [1, 3])).map((args) => args.length), [0, 1, 0, 1]);

  // The messages of a conversation arrive in order.
  const lines = Array.from({ length: 500 }, (_, n) => `${n} `.repeat(1 + (n % 5) * 500));
  for (const line of lines) first.emit('line', line);
  first.emit('last line');
  await heard(sockets, 'last line', [0, 1, 2, 3]);
  // With recovery each is followed by an offset in the stream.
  for (const received of await heard(sockets, 'line', [])) assert.deepEqual(received.map(([line]) => line), lines);

  // Requests to all: the list of sockets, and the acknowledgement of each.
  const present = await second.fetchSockets();
  assert.deepEqual(present.map(({ id }) => id).sort(), sockets.map(({ id }) => id).sort());
  for (const [index, socket] of sockets.entries()) socket.on('ask', (answer) => answer(index));
  const answers = await first.timeout(20_000).emitWithAck('ask');
  assert.deepEqual(answers.sort(), [0, 1, 2, 3]);
  second.on('servers', (text, answer) => answer(`${text} heard`));
  assert.deepEqual(await first.serverSideEmitWithAck('servers', 'one'), ['one heard']);

  // One server disconnects a client of the other.
  const ended = new Promise((resolve) => sockets[3].on('disconnect', resolve));
  first.in(sockets[3].id).disconnectSockets(true);
  await ended;
  await eventually('three sockets', async () => (await second.fetchSockets()).length === 3);
  return { servers, sockets };
}

function end({ servers, sockets }) {
  for (const socket of sockets) socket.disconnect();
  for (const io of servers) io.close();
}

async function redisAdapter() {
  for (const RESP of [2, 3]) {
    end(await check(async () => createAdapter(await nodeRedis({ RESP }), await nodeRedis({ RESP }))));
  }
}

async function redisAdapterOverIoredis() {
  end(await check(async () => createAdapter(new Redis(url), new Redis(url))));
}

async function shardedAdapter() {
  for (const subscriptionMode of ['static', 'dynamic']) {
    end(await check(async () => createShardedAdapter(await nodeRedis(), await nodeRedis(), { subscriptionMode })));
  }
}

async function streamsAdapter() {
  const options = { connectionStateRecovery: {} };
  const both = await check(async () => createStreamsAdapter(await nodeRedis()), options);
  // A client whose connection broke gets the missed events from the stream, even from the other server.
  const { servers, sockets } = both;
  const [lost] = sockets;
  const { id } = lost;
  servers[1].emit('seen', 1);
  await heard(sockets, 'seen', [0]);
  const { port } = servers[1].httpServer.address();
  lost.io.uri = `http://127.0.0.1:${port}`;
  const gone = new Promise((resolve) => lost.on('disconnect', resolve));
  lost.io.engine.close();
  await gone;
  servers[1].emit('missed', 2);
  lost.connect();
  const [[[missed]]] = await heard(sockets, 'missed', [0]);
  assert.equal(missed, 2);
  assert.ok(lost.recovered && lost.id === id);
  end(both);
}

async function emitter() {
  const { servers, sockets } = await cluster(async () => createAdapter(await nodeRedis(), await nodeRedis()));
  const emit = new Emitter(await nodeRedis());
  emit.emit('from outside', 'hello');
  for (const messages of await heard(sockets, 'from outside', [0, 1, 2, 3])) assert.deepEqual(messages, [['hello']]);
  end({ servers, sockets });
}

await main([redisAdapter, redisAdapterOverIoredis, shardedAdapter, streamsAdapter, emitter]);
