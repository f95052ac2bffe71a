// Bee-Queue as in its README: results and progress across several queues, retries, delays, lost workers.
import { assert, eventually, load, main, url } from './checks.mjs';

const Queue = load('bee-queue');

const opened = [];

function open(name, options) {
  const queue = new Queue(name, { redis: { url }, ...options });
  queue.on('error', () => {});
  opened.push(queue);
  return queue;
}

/// A queue that only creates jobs, as in a web server.
const producer = (name) => open(name, { isWorker: false });

const ended = (job) =>
  new Promise((resolve, reject) => job.on('succeeded', resolve).on('failed', (error) => reject(error)));

async function results() {
  const [makes, works] = [producer('results'), open('results')];
  works.process(10, async (job) => {
    job.reportProgress({ half: job.data.n / 2 });
    return { square: job.data.n ** 2 };
  });
  const jobs = Array.from({ length: 100 }, (_, n) => makes.createJob({ n }));
  const progress = [];
  for (const job of jobs) job.on('progress', ({ half }) => progress.push(half));
  const squares = Promise.all(jobs.map(ended));
  assert.equal((await makes.saveAll(jobs)).size, 0);
  assert.deepEqual(await squares, jobs.map((_, n) => ({ square: n * n })));
  await eventually('progress', () => progress.length === 100);
  const { succeeded, newestJob } = await makes.checkHealth();
  assert.deepEqual([succeeded, newestJob], [100, 100]);
  assert.deepEqual((await makes.getJob(jobs[7].id)).data, { n: 7 });
}

async function order() {
  const queue = open('order', { removeOnSuccess: true });
  for (let n = 0; n < 5; n += 1) await queue.createJob({ n }).save();
  await queue.createJob({ n: 'again' }).setId('mine').save();
  assert.equal((await queue.createJob({ n: 'twice' }).setId('mine').save()).id, null);
  const gone = await queue.createJob({ n: 'removed' }).save();
  await queue.removeJob(gone.id);
  const done = [];
  queue.process(async ({ data }) => done.push(data.n));
  await eventually('six jobs', () => done.length === 6);
  assert.deepEqual(done, [0, 1, 2, 3, 4, 'again']);
  await eventually('nothing left of them', async () => (await queue.getJob('mine')) === null);
}

async function failures() {
  const queue = open('failures', { activateDelayedJobs: true, delayedDebounce: 10 });
  queue.process(async ({ data, options }) => {
    if (data.kind === 'hung') return new Promise(() => {});
    if (data.kind === 'broken' || options.retries > 0) throw new Error('as it should');
    return options.retries;
  });
  const third = queue.createJob({ kind: 'third time' }).retries(2).backoff('fixed', 10);
  const retried = [];
  third.on('retrying', (error) => retried.push(error.message));
  const end = ended(third);
  await third.save();
  assert.equal(await end, 0);
  assert.deepEqual(retried, ['as it should', 'as it should']);
  for (const [kind, text] of [['broken', /as it should/], ['hung', /timed out/]]) {
    const job = queue.createJob({ kind }).timeout(kind === 'hung' ? 50 : 20_000);
    const failure = assert.rejects(ended(job), text);
    await job.save();
    await failure;
  }
  await eventually('two failures', async () => (await queue.checkHealth()).failed === 2);
  assert.equal((await queue.getJobs('failed', { size: 10 })).length, 2);
}

async function later() {
  const queue = open('later', { activateDelayedJobs: true, delayedDebounce: 10 });
  const done = [];
  queue.process(async ({ data }) => done.push([data.name, Date.now()]));
  const started = Date.now();
  await queue.createJob({ name: 'later' }).delayUntil(started + 300).save();
  await queue.createJob({ name: 'soon' }).delayUntil(started + 100).save();
  await queue.createJob({ name: 'now' }).save();
  assert.equal((await queue.checkHealth()).delayed, 2);
  await eventually('three jobs', () => done.length === 3);
  assert.deepEqual(done.map(([name]) => name), ['now', 'soon', 'later']);
  assert.ok(done[1][1] - started >= 100 && done[2][1] - started >= 300);
}

async function lostWorkers() {
  const hung = open('lost', { stallInterval: 50 });
  hung.process(() => new Promise(() => {}));
  const makes = producer('lost');
  const job = makes.createJob({});
  const end = ended(job);
  await job.save();
  await eventually('a job in progress', async () => (await makes.checkHealth()).active === 1);
  // Closes without waiting for its running job.
  await hung.close(1).catch(() => {});
  const other = open('lost', { stallInterval: 50 });
  other.process(async () => 'done');
  // One check marks the jobs of silent workers as stalled, the next one queues them again.
  await eventually('the job elsewhere', async () => {
    await other.checkStalledJobs();
    return (await makes.checkHealth()).succeeded === 1;
  });
  assert.equal(await end, 'done');
}

await main([results, order, failures, later, lostWorkers]);
