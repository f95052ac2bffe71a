// Bull as in its README: results, named processors, priorities, retries, delays, repetition, a rate limit.
import { assert, eventually, load, main, url } from './checks.mjs';

const Queue = load('bull');

/// A queue for a test, and the function that closes it.
async function withQueue(name, options, test) {
  const queue = new Queue(name, url, options);
  try {
    await test(queue);
  } finally {
    await queue.close(true);
  }
}

async function results() {
  await withQueue('results', {}, async (queue) => {
    const progress = [];
    queue.on('global:progress', (id, value) => progress.push(value));
    queue.process('square', 10, async ({ data: { n } }) => n * n);
    queue.process('report', async (job) => {
      await job.log('half');
      await job.progress(50);
      return { text: 'für dich', list: [1, 2.5, null] };
    });
    await queue.addBulk(Array.from({ length: 100 }, (_, n) => ({ name: 'square', data: { n } })));
    await eventually('squares', async () => (await queue.getCompletedCount()) === 100);
    for (const { data: { n }, returnvalue } of await queue.getCompleted()) assert.equal(returnvalue, n * n);
    const report = await queue.add('report', {}, { jobId: 'mine' });
    assert.deepEqual(await report.finished(), { text: 'für dich', list: [1, 2.5, null] });
    assert.deepEqual((await queue.getJobLogs('mine')).logs, ['half']);
    await eventually('progress', () => progress.length === 1);
    assert.deepEqual(progress, [50]);
    assert.equal(await queue.getCompletedCount(), 101);
    assert.equal((await queue.getWorkers()).length, 1);
    await queue.obliterate({ force: true });
    assert.deepEqual(Object.values(await queue.getJobCounts()), [0, 0, 0, 0, 0, 0]);
  });
}

async function order() {
  await withQueue('order', {}, async (queue) => {
    await queue.pause();
    await queue.add({ name: 'first' });
    await queue.add({ name: 'second' });
    await queue.add({ name: 'in front' }, { lifo: true });
    for (const priority of [30, 2, 100]) await queue.add({ name: `priority ${priority}` }, { priority });
    const gone = await queue.add({ name: 'removed' });
    await gone.remove();
    const done = [];
    queue.process(async ({ data: { name } }) => done.push(name));
    await queue.resume();
    await eventually('all of them', () => done.length === 6);
    assert.deepEqual(done.filter((name) => name.startsWith('priority')), ['priority 2', 'priority 30', 'priority 100']);
    assert.deepEqual(done.filter((name) => !name.startsWith('priority')), ['in front', 'first', 'second']);
  });
}

async function failures() {
  await withQueue('failures', {}, async (queue) => {
    let mended = false;
    queue.process(async ({ data: { kind }, attemptsMade }) => {
      if (kind === 'third time' && attemptsMade < 2) throw new Error('not yet');
      if (kind === 'broken' && !mended) throw new Error('as it should');
      return attemptsMade;
    });
    const again = { attempts: 3, backoff: { type: 'exponential', delay: 10 } };
    assert.equal(await (await queue.add({ kind: 'third time' }, again)).finished(), 2);
    const broken = await queue.add({ kind: 'broken' });
    await assert.rejects(broken.finished(), /as it should/);
    const [failed] = await queue.getFailed();
    assert.deepEqual([failed.failedReason, failed.attemptsMade], ['as it should', 1]);
    mended = true;
    await failed.retry();
    await eventually('the job, mended', async () => (await failed.getState()) === 'completed');
  });
}

async function later() {
  await withQueue('later', {}, async (queue) => {
    const done = new Map();
    queue.process('*', 5, async ({ name }) => done.set(name, [...(done.get(name) ?? []), Date.now()]));
    const started = Date.now();
    await queue.add('soon', {}, { delay: 200 });
    const promoted = await queue.add('promoted', {}, { delay: 3_600_000 });
    assert.equal(await promoted.isDelayed(), true);
    await promoted.promote();
    await queue.add('tick', {}, { repeat: { every: 100 } });
    await queue.add('night', {}, { repeat: { cron: '15 3 * * *', tz: 'UTC' } });
    const { next } = (await queue.getRepeatableJobs()).find(({ name }) => name === 'night');
    assert.equal(new Date(next).toISOString().slice(11, 16), '03:15');
    await eventually('all of them', () => done.get('soon') && done.get('promoted') && done.get('tick')?.length >= 3);
    assert.ok(done.get('soon')[0] - started >= 200);
    await queue.removeRepeatable('tick', { every: 100 });
    await queue.removeRepeatable('night', { cron: '15 3 * * *', tz: 'UTC' });
    assert.deepEqual(await queue.getRepeatableJobs(), []);
  });
}

async function limits() {
  await withQueue('limited', { limiter: { max: 3, duration: 200 } }, async (queue) => {
    let done = 0;
    await queue.addBulk(Array.from({ length: 7 }, () => ({ data: {} })));
    const started = Date.now();
    queue.process(5, async () => (done += 1));
    await eventually('seven jobs', () => done === 7);
    // Two windows have passed, however late this process noticed. The clock's milliseconds are truncated at both ends.
    assert.ok(Date.now() - started >= 398, `${Date.now() - started} ms`);
  });
}

async function lostWorkers() {
  const settings = { lockDuration: 100, lockRenewTime: 3_600_000, stalledInterval: 50 };
  await withQueue('lost', { settings }, async (hung) => {
    hung.process(() => new Promise(() => {}));
    const job = await hung.add({});
    await eventually('a job in progress', () => job.isActive());
    await withQueue('lost', { settings }, async (other) => {
      other.process(async () => 'done');
      assert.equal(await job.finished(), 'done');
    });
  });
}

await main([results, order, failures, later, limits, lostWorkers]);
