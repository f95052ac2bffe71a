// What the scripts for Node's applications share.
import { assert, load, refused } from '../node_client/checks.mjs';

export { assert, load, refused };

/// The server under test, as the harness passes it.
export const [url] = process.argv.slice(2);

// A script that takes longer is broken.
const DEADLINE_MS = 50_000;
const started = Date.now();

/// What `probe` returns or resolves to as soon as that is true; fails with `what` at the deadline.
export async function eventually(what, probe) {
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() - started < DEADLINE_MS, `did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/// Runs a list of tests, each named by its function, and ends the process.
export async function main(tests) {
  // What is awaited may never come; the name printed last says where.
  setTimeout(() => assert.fail('this does not end'), DEADLINE_MS);
  for (const test of tests) {
    console.log(test.name);
    await test();
  }
  console.log('all passed');
  process.exit(0);
}
