// Writes through ioredis's Sentinel client until another primary has accepted a write: sentinel.mjs NAME PORT...
import { load } from '../node_client/checks.mjs';

const { Redis } = load('ioredis');
const [name, ...ports] = process.argv.slice(2);
const sentinels = ports.map((port) => ({ host: '127.0.0.1', port: Number(port) }));
const options = { sentinels, name: 'mymaster', maxRetriesPerRequest: null, sentinelRetryStrategy: () => 50 };
const primary = new Redis(options);
const replica = new Redis({ ...options, role: 'slave' });
primary.on('error', () => {});
replica.on('error', () => {});

const address = () => `${primary.stream?.remoteAddress}:${primary.stream?.remotePort}`;
const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

await primary.set(`began:${name}`, 'yes');
const first = address();

// The test that runs this bounds the wait.
for (;;) {
  try {
    await primary.incr(`counter:${name}`);
    if (address() !== first) {
      await primary.set(`went-on:${name}`, 'yes');
      break;
    }
  } catch (error) {
    // A primary that was just replaced refuses writes; the connection to it is useless.
    if (error.message.startsWith('READONLY')) primary.disconnect(true);
  }
  await pause();
}

for (;;) {
  try {
    if ((await replica.get(`went-on:${name}`)) === 'yes') break;
  } catch {
    // The client is not connected yet.
  }
  await pause();
}
console.log('all passed');
process.exit(0);
