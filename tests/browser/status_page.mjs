// Opens the status page in a browser: node status_page.mjs BROWSER URL [DIRECTORY FOR SCREENSHOTS]
//
// It drives the browser with the DevTools protocol over a pair of pipes, which needs no package.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import assert from 'node:assert/strict';

const [browserPath, url, pictures] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'redstart-browser-'));
const browser = spawn(
  browserPath,
  ['--remote-debugging-pipe', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', `--user-data-dir=${profile}`],
  { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
);
const ended = new Promise((resolve) => browser.once('exit', resolve));

const waiting = new Map();
const listeners = [];
let lastId = 0;
let received = '';
browser.stdio[4].on('data', (bytes) => {
  received += bytes.toString('utf8');
  for (let end = received.indexOf('\0'); end >= 0; end = received.indexOf('\0')) {
    const message = JSON.parse(received.slice(0, end));
    received = received.slice(end + 1);
    if (message.id) {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      message.error ? reject(new Error(JSON.stringify(message.error))) : resolve(message.result);
    } else {
      listeners.forEach((listener) => listener(message));
    }
  }
});

let sessionId;
function call(method, params = {}) {
  const id = ++lastId;
  browser.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

async function evaluate(expression) {
  const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, returnByValue: true });
  assert.equal(exceptionDetails, undefined, JSON.stringify(exceptionDetails));
  return result.value;
}

// The contrast of two colours by WCAG 2: text needs 4.5.
const contrast = `(() => {
  const channel = (value) => (value /= 255, value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const found = colour(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const node of document.querySelectorAll('h1,h1 small,h2,p,td,th,dt,dd,footer,.state')) {
    if (!node.textContent.trim() || !node.getClientRects().length) continue;
    const [a, b] = [colour(getComputedStyle(node).color), behind(node)].map(luminance);
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()`;

async function look(name, width, height, scheme) {
  await call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
  await call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
  const loaded = new Promise((resolve) => listeners.push((it) => it.method === 'Page.loadEventFired' && resolve()));
  await call('Page.navigate', { url });
  await loaded;

  assert.match(await evaluate('document.title'), /^Redstart :\d+$/);
  assert.equal(await evaluate(`document.querySelector('.state').textContent`), 'serving');
  assert.equal(await evaluate('document.compatMode'), 'CSS1Compat');
  const cards = await evaluate(`[...document.querySelectorAll('.card')].map((it) => it.getBoundingClientRect().toJSON())`);
  assert.ok(cards.length >= 12, `${cards.length} cards`);
  for (const card of cards) {
    assert.ok(card.left >= 0 && card.right <= width && card.height > 20, `${name}: ${JSON.stringify(card)}`);
  }
  assert.ok((await evaluate('document.documentElement.scrollWidth')) <= width, `${name}: wider than the screen`);
  // Figures and charts of a row are at the same height, however many lines a title takes.
  for (const part of ['', ' .value', ' svg']) {
    const uneven = await evaluate(`(() => {
      const tiles = [...document.querySelectorAll('.charts .card')];
      const box = (tile) => (${JSON.stringify(part)} ? tile.querySelector(${JSON.stringify(part)}) : tile).getBoundingClientRect();
      const row = (tile) => tile.getBoundingClientRect().top;
      return tiles.flatMap((a) => tiles.filter((b) => row(a) === row(b) &&
        (Math.abs(box(a).top - box(b).top) > 1 || Math.abs(box(a).bottom - box(b).bottom) > 1)).map((b) => b.textContent));
    })()`);
    assert.deepEqual(uneven, [], `${name}:${part}`);
  }
  // Nothing in a card is clipped, but tables may be scrolled.
  const cut = await evaluate(`[...document.querySelectorAll('.card p,.card h2,dl div')]
    .filter((it) => it.scrollWidth > it.clientWidth + 1).map((it) => it.textContent)`);
  assert.deepEqual(cut, [], name);
  // A line without extent is invisible.
  const lines = await evaluate(`[...document.querySelectorAll('svg .line')].map((it) => it.getAttribute('d').length)`);
  assert.ok(lines.length >= 7 && lines.filter((length) => length > 0).length >= 6, `${name}: ${lines}`);
  const least = await evaluate(contrast);
  assert.ok(least >= 4.5, `${name}: the least contrast is ${least}`);
  if (pictures) {
    const { data } = await call('Page.captureScreenshot', { captureBeyondViewport: true });
    writeFileSync(join(pictures, `${name}.png`), Buffer.from(data, 'base64'));
  }
  return evaluate(`getComputedStyle(document.body).backgroundColor`);
}

try {
  const { targetId } = await call('Target.createTarget', { url: 'about:blank' });
  ({ sessionId } = await call('Target.attachToTarget', { targetId, flatten: true }));
  const [requests, complaints] = [[], []];
  listeners.push(({ method, params }) => {
    if (method === 'Network.requestWillBeSent') requests.push(params.request.url);
    if (method === 'Log.entryAdded') complaints.push(params.entry.text);
    if (method === 'Runtime.exceptionThrown') complaints.push(params.exceptionDetails.text);
  });
  for (const domain of ['Page', 'Network', 'Log', 'Runtime']) await call(`${domain}.enable`);
  const light = await look('desktop-light', 1280, 900, 'light');
  const dark = await look('desktop-dark', 1280, 900, 'dark');
  await look('phone-light', 390, 844, 'light');
  await look('phone-dark', 390, 844, 'dark');
  assert.notEqual(light, dark, 'the dark page is dark');
  assert.deepEqual([...new Set(requests)], [url], 'nothing else is loaded');
  assert.deepEqual(complaints, []);
  console.log('all passed');
} finally {
  // This exits all of its processes; a signal would reach only the first.
  sessionId = undefined;
  await Promise.race([ended, call('Browser.close').then(() => ended)]);
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(0);
