// Functions shared by the scripts for Node's applications.
import { assert, load, refused } from '../node_client/checks.mjs';

export { assert, load, refused };

/// The URL of the server under test, passed by the harness.
export const [url] = process.argv.slice(2);

// A script that takes longer is broken. The harness waits a little longer.
const DEADLINE_MS = 280_000;
const started = Date.now();

/// Polls `probe` until its result is true, and returns the result; fails with `what` at the deadline.
export async function eventually(what, probe) {
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() - started < DEADLINE_MS, `did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/// Runs a list of tests, each named by its function, and exits.
export async function main(tests) {
  // An awaited event may never come; the last printed name shows where.
  setTimeout(() => assert.fail('this does not end'), DEADLINE_MS);
  for (const test of tests) {
    console.log(test.name);
    await test();
  }
  console.log('all passed');
  process.exit(0);
}
