// The load of the cluster clients for Node: see tests/apps/cluster.rs for the commands on standard input.
import { createInterface } from 'node:readline';

import { assert, eventually, load, refused } from './checks.mjs';

export { assert, load, refused };

export const [ports, tags] = process.argv.slice(2, 4).map((words) => words.split(','));

export const PAIR = "return {redis.call('INCR', KEYS[1]), redis.call('INCR', KEYS[2])}";

const pause = () => new Promise((resolve) => setTimeout(resolve, 2));

/// Publishes by `spublish` to a channel of each tag and by `publish` to another one, until `heard` has all messages.
export async function publishAll(heard, spublish, publish) {
  await eventually('messages of all channels', async () => {
    for (const tag of tags) await spublish(`{${tag}}:news`, tag);
    await publish('news', 'plain');
    return [...tags, 'plain'].every((message) => heard.has(message));
  });
}

function reply(...words) {
  console.log('>', ...words);
}

/// The name of an error's kind: its code, or the first word of its text, or its first sentence.
function kindOf(error) {
  const [word] = error.message.split(' ');
  return error.code ?? (/^[A-Z]+$/.test(word) ? word : error.message.split('.')[0]);
}

/// Sends requests for the keys of one tag, whose values it knows. Collects the kinds of errors and wrong
/// values.
class Worker {
  rounds = 0;
  isStopped = false;
  errors = new Set();
  #generation = 0;

  /// `requests(keys, state, mode)` yields the requests of a round: functions that return the reply and the
  /// expected one.
  constructor(tag, period, mode, requests) {
    Object.assign(this, { tag, period, mode, requests });
    this.#renew();
    this.done = this.#run();
  }

  /// Switches to new keys: after an error, the values of the old ones are unknown.
  #renew() {
    const key = (name) => `{${this.tag}}:${this.period}:${this.#generation}:${name}`;
    this.#generation += 1;
    this.keys = { single: key('single'), pair: [key('left'), key('right')], texts: [key('text:0'), key('text:1')] };
    this.state = { count: 0, pairs: 0 };
  }

  async #run() {
    while (!this.isStopped) {
      this.state.text = String(this.rounds);
      for (const request of this.requests(this.keys, this.state, this.mode)) {
        try {
          const [result, wanted] = (await request()).map((part) => JSON.stringify(part));
          if (this.mode !== 'crash' && result !== wanted) throw new Error(`wrong value: ${result}, not ${wanted}`);
        } catch (error) {
          const kind = kindOf(error);
          if (!this.errors.has(kind)) console.log(this.mode, this.tag, String(request), error);
          this.errors.add(kind);
          this.#renew();
          break;
        }
      }
      this.rounds += 1;
      // Without a pause the workers would use all cores.
      await pause();
    }
  }
}

/// Executes the commands of the harness.
export async function obey(requests) {
  let [workers, period] = [[], 0];
  reply('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, mode] = line.split(' ');
    if (command === 'start') {
      period += 1;
      workers = tags.map((tag) => new Worker(tag, period, mode, requests));
    } else if (command === 'advance') {
      const goals = workers.map((worker) => worker.rounds + 3);
      for (const [index, worker] of workers.entries()) {
        await eventually(`${worker.tag} goes on`, () => worker.rounds >= goals[index]);
      }
      reply('advanced');
    } else if (command === 'stop') {
      for (const worker of workers) worker.isStopped = true;
      await Promise.all(workers.map((worker) => worker.done));
      for (const kind of new Set(workers.flatMap((worker) => [...worker.errors]))) reply('error', kind);
      reply('stopped', workers.reduce((sum, worker) => sum + worker.rounds, 0));
    }
  }
  process.exit(0);
}
