// Functions shared by both Node clients: loading packages from the working directory, and assertions.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

/// Loads a package from `node_modules` of the working directory, wherever this file is.
export const load = createRequire(`${process.cwd()}/`);

export { assert };

/// Whether an action fails with an error that contains the text.
export async function refused(action, text) {
  await assert.rejects(action, (error) => {
    assert.ok(error.message.includes(text), `'${error.message}' has no '${text}'`);
    return true;
  });
}

/// Runs every test of a list for one connection, each on an empty data set, and names the one that fails.
export async function runAll(tests, client, flush) {
  for (const test of tests) {
    await flush();
    try {
      await test(client);
    } catch (error) {
      error.message = `${test.name}: ${error.message}`;
      throw error;
    }
  }
}

/// Waits for an event that must come; the caller of this process bounds the wait.
export function once(register) {
  return new Promise((resolve) => register(resolve));
}
