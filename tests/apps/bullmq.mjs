// BullMQ as in its guide: jobs in order, delayed, repeated, retried, rate-limited; flows; lost workers.
import { assert, eventually, load, main, url } from './checks.mjs';

const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = load('bullmq');

const connection = { url };
const opened = [];

/// A queue, a worker, … of BullMQ, closed when the test ends.
function open(Kind, ...args) {
  const options = typeof args.at(-1) === 'object' ? args.pop() : {};
  const made = new Kind(...args, { connection, ...options });
  made.on('error', () => {});
  opened.push(made);
  return made;
}

/// A test that closes what it opened.
function closing(test) {
  const run = async () => {
    await test();
    await Promise.all(opened.splice(0).map((each) => each.close(true)));
  };
  return Object.defineProperty(run, 'name', { value: test.name });
}

async function results() {
  const queue = open(Queue, 'results');
  await queue.addBulk(Array.from({ length: 200 }, (_, n) => ({ name: 'square', data: { n } })));
  assert.equal((await queue.getJobCounts('wait')).wait, 200);
  open(Worker, 'results', async ({ data: { n } }) => n * n, { concurrency: 20, name: 'squares' });
  await eventually('the end', async () => (await queue.getCompletedCount()) === 200);
  for (const { data: { n }, returnvalue } of await queue.getCompleted()) assert.equal(returnvalue, n * n);
  const [{ rawname }] = await queue.getWorkers();
  assert.match(rawname, /:w:squares$/);

  const chatty = open(Queue, 'chatty');
  const heard = open(QueueEvents, 'chatty');
  await heard.waitUntilReady();
  const progress = [];
  heard.on('progress', ({ data }) => progress.push(data));
  open(Worker, 'chatty', async (job) => {
    await job.log('half');
    await job.updateProgress({ percent: 50 });
    await job.updateData({ ...job.data, seen: true });
    return { text: 'für dich', list: [1, 2.5, null, []] };
  });
  const job = await chatty.add('once', { deep: { empty: {}, list: [] } }, { jobId: 'mine', removeOnComplete: 1 });
  assert.deepEqual(await job.waitUntilFinished(heard), { text: 'für dich', list: [1, 2.5, null, []] });
  const done = await chatty.getJob('mine');
  assert.deepEqual(done.data, { deep: { empty: {}, list: [] }, seen: true });
  assert.deepEqual((await chatty.getJobLogs('mine')).logs, ['half']);
  assert.equal(await done.getState(), 'completed');
  await eventually('progress', () => progress.length === 1);
  assert.deepEqual(progress, [{ percent: 50 }]);
  // A job of this name exists already; the next one replaces it among the kept jobs.
  await chatty.add('again', {}, { jobId: 'mine' });
  await (await chatty.add('next', {}, { removeOnComplete: 1 })).waitUntilFinished(heard);
  assert.deepEqual((await chatty.getCompleted()).map(({ name }) => name), ['next']);
}

async function order() {
  const queue = open(Queue, 'order');
  await queue.pause();
  await queue.add('first', {});
  await queue.add('second', {});
  await queue.add('in front', {}, { lifo: true });
  // Jobs without a priority come first, then the smallest number.
  for (const priority of [30, 2, 100, 2]) await queue.add(`priority ${priority}`, {}, { priority });
  const late = await queue.add('changed', {}, { priority: 500 });
  await late.changePriority({ priority: 1 });
  assert.deepEqual(await queue.getCountsPerPriority([1, 2, 30]), { 1: 1, 2: 2, 30: 1 });
  const done = [];
  open(Worker, 'order', async ({ name }) => done.push(name));
  assert.ok(await queue.isPaused());
  assert.deepEqual(done, []);
  await queue.resume();
  await eventually('all of them', () => done.length === 8);
  assert.deepEqual(done.splice(0, 4), ['in front', 'first', 'second', 'changed']);
  assert.deepEqual(done, ['priority 2', 'priority 2', 'priority 30', 'priority 100']);
}

async function failures() {
  const queue = open(Queue, 'failures');
  const events = open(QueueEvents, 'failures');
  await events.waitUntilReady();
  let mended = false;
  open(Worker, 'failures', async ({ name, attemptsMade }) => {
    if (name === 'third time' && attemptsMade < 2) throw new Error('not yet');
    if (name === 'hopeless') throw new UnrecoverableError('hopeless');
    if (name === 'broken' && !mended) throw new Error('as it should');
    return attemptsMade;
  });
  const again = { attempts: 3, backoff: { type: 'exponential', delay: 10 } };
  assert.equal(await (await queue.add('third time', {}, again)).waitUntilFinished(events), 2);
  await assert.rejects((await queue.add('hopeless', {}, again)).waitUntilFinished(events), /hopeless/);
  const broken = await queue.add('broken', {}, again);
  await assert.rejects(broken.waitUntilFinished(events), /as it should/);
  const [{ attemptsMade, failedReason, stacktrace }] = await queue.getFailed();
  assert.deepEqual([attemptsMade, failedReason, stacktrace.length], [3, 'as it should', 3]);
  mended = true;
  const failed = await queue.getJob(broken.id);
  await failed.retry();
  await eventually('the job, mended', async () => (await failed.getState()) === 'completed');
  assert.equal(await queue.getFailedCount(), 1);
  assert.equal((await queue.clean(0, 10, 'failed')).length, 1);
}

async function later() {
  const queue = open(Queue, 'later');
  const done = new Map();
  open(Worker, 'later', async ({ name }) => done.set(name, Date.now()));
  const started = Date.now();
  await queue.add('soon', {}, { delay: 300 });
  const [promoted, moved] = [
    await queue.add('promoted', {}, { delay: 3_600_000 }),
    await queue.add('moved', {}, { delay: 3_600_000 }),
  ];
  assert.equal(await queue.getDelayedCount(), 3);
  await queue.add('now', {});
  await promoted.promote();
  await moved.changeDelay(10);
  await eventually('all four', () => done.size === 4);
  assert.ok(done.get('soon') - started >= 300);
  assert.equal(await queue.getDelayedCount(), 0);
}

async function againAndAgain() {
  const queue = open(Queue, 'ticks');
  const ticks = [];
  open(Worker, 'ticks', async (job) => ticks.push([job.data.n, job.opts.repeat?.count, job.timestamp]));
  await queue.upsertJobScheduler('every', { every: 100 }, { name: 'tick', data: { n: 1 } });
  await eventually('three ticks', () => ticks.length >= 3);
  await queue.upsertJobScheduler('every', { every: 50 }, { name: 'tick', data: { n: 2 } });
  await eventually('ticks of the new kind', () => ticks.filter(([n]) => n === 2).length >= 3);
  assert.deepEqual([...new Set(ticks.map(([n]) => n))], [1, 2]);
  await queue.upsertJobScheduler('nightly', { pattern: '0 15 3 * * *', tz: 'UTC' }, { name: 'night', data: {} });
  const { next } = (await queue.getJobSchedulers()).find(({ key }) => key === 'nightly');
  assert.equal(new Date(next).toISOString().slice(11, 16), '03:15');
  assert.equal(await queue.removeJobScheduler('every'), true);
  assert.equal(await queue.removeJobScheduler('nightly'), true);
  assert.equal(await queue.getJobSchedulersCount(), 0);
  assert.equal(await queue.getDelayedCount(), 0);
}

async function flows() {
  const flow = open(FlowProducer);
  const events = open(QueueEvents, 'house');
  await events.waitUntilReady();
  open(Worker, 'parts', async ({ name, data }) => {
    if (data.fails) throw new Error(`no ${name}`);
    return data.price;
  });
  open(Worker, 'house', async (job) => Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0));
  const part = (name, price, more = {}) => ({ name, queueName: 'parts', data: { price }, ...more });
  const wing = { name: 'wing', queueName: 'house', children: [part('door', 5), part('window', 7)] };
  const { job } = await flow.add({ name: 'house', queueName: 'house', children: [wing, part('roof', 100)] });
  assert.equal(await job.waitUntilFinished(events), 112);
  const { processed, unprocessed } = await job.getDependencies();
  assert.deepEqual([Object.values(processed).sort(), unprocessed], [[100, 12], []]);
  const poor = part('floor', 0, { opts: { failParentOnFailure: true }, data: { fails: true } });
  const ruin = await flow.add({ name: 'ruin', queueName: 'house', children: [poor, part('wall', 1)] });
  await assert.rejects(ruin.job.waitUntilFinished(events), /child .* failed/);
  const hole = part('hole', 0, { opts: { ignoreDependencyOnFailure: true }, data: { fails: true } });
  const hut = await flow.add({ name: 'hut', queueName: 'house', children: [hole, part('wall', 1)] });
  assert.equal(await hut.job.waitUntilFinished(events), 1);
}

async function limits() {
  const queue = open(Queue, 'limited');
  await queue.addBulk(Array.from({ length: 7 }, () => ({ name: 'job', data: {} })));
  const started = Date.now();
  let done = 0;
  open(Worker, 'limited', async () => (done += 1), { limiter: { max: 3, duration: 200 }, concurrency: 5 });
  await eventually('seven jobs', () => done === 7);
  // Two windows have passed, however late this process noticed. The clock's milliseconds are truncated at both ends.
  assert.ok(Date.now() - started >= 398, `${Date.now() - started} ms`);

  // Two workers that together may run one job at a time.
  const narrow = open(Queue, 'narrow');
  await narrow.setGlobalConcurrency(1);
  let [running, most, all] = [0, 0, 0];
  const busy = async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 5));
    running -= 1;
    all += 1;
  };
  for (const _ of [1, 2]) open(Worker, 'narrow', busy, { concurrency: 5 });
  await narrow.addBulk(Array.from({ length: 20 }, () => ({ name: 'job', data: {} })));
  await eventually('twenty jobs', () => all === 20);
  assert.equal(most, 1);
  // The same job, added again, is a single job until it is done.
  const deduplication = { id: 'mail' };
  const [one, two] = [
    await narrow.add('mail', {}, { deduplication, delay: 50 }),
    await narrow.add('mail', {}, { deduplication }),
  ];
  assert.equal(one.id, two.id);
  await eventually('one more', () => all === 21);
}

async function lostWorkers() {
  const queue = open(Queue, 'lost');
  const job = await queue.add('job', {});
  const events = open(QueueEvents, 'lost');
  await events.waitUntilReady();
  const stalled = [];
  events.on('stalled', ({ jobId }) => stalled.push(jobId));
  const lost = { lockDuration: 100, skipLockRenewal: true, stalledInterval: 50 };
  const hung = open(Worker, 'lost', () => new Promise(() => {}), lost);
  await eventually('a job in progress', async () => (await job.getState()) === 'active');
  open(Worker, 'lost', async () => 'done', { stalledInterval: 50 });
  await eventually('its end elsewhere', async () => (await queue.getJob(job.id)).returnvalue === 'done');
  await eventually('word of it', () => stalled.length > 0);
  assert.deepEqual(stalled, [job.id]);
  await hung.close(true);
  await queue.obliterate({ force: true });
  assert.equal(await queue.getJob(job.id), undefined);
}

await main([results, order, failures, later, againAndAgain, flows, limits, lostWorkers].map(closing));
