/**
 * MQTT.js in a page of headless Chromium, over WebSocket with and without TLS, whose certificate comes from the broker's own authority, which the
 * browser's store trusts: the page comes from an HTTP server here and runs the same
 * `mqttjs-scenario` as Node does. `DUNLIN_SCREENSHOT=FILE.png` keeps a picture of the page.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Browser, chromium } from 'playwright-core';
import { Folder } from '../support/pki.js';
import { assertReport } from './mqttjs-expected.js';
import type { ScenarioReport } from './mqttjs-scenario.js';
import { embeddedBroker, findProgram, type RunningBroker, root } from './support.js';

const executablePath = findProgram('chromium', 'test/interop/chromium: chromium');
const certutil = findProgram('certutil', 'test/interop/chromium: certutil (libnss3-tools)');
const flags = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync'],
];

const page = `<!doctype html>
<meta charset="utf-8"><title>MQTT.js and Dunlin</title>
<h1>MQTT.js and Dunlin</h1>
<pre id="report">running</pre>
<script src="/mqtt.js"></script>
<script type="module">
  import { runScenario } from '/mqttjs-scenario.js';
  const options = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  const report = document.querySelector('#report');
  try {
    window.result = { report: await runScenario(window.mqtt, options) };
    report.textContent = JSON.stringify(window.result.report, null, 1);
  } catch (error) {
    window.result = { error: String(error.stack ?? error) };
    report.textContent = window.result.error;
  }
</script>
`;

const files: Record<string, { type: string; body: () => string | Buffer }> = {
  '/': { type: 'text/html', body: () => page },
  '/mqtt.js': { type: 'text/javascript', body: () => readFileSync(join(root, 'node_modules/mqtt/dist/mqtt.min.js')) },
  '/mqttjs-scenario.js': {
    type: 'text/javascript',
    body: () => readFileSync(new URL('./mqttjs-scenario.js', import.meta.url)),
  },
};

async function serveFiles(): Promise<Server> {
  const server = createServer((request, response) => {
    const file = files[request.url ?? ''];
    if (file === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': file.type }).end(file.body());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** A home folder whose certificate store (NSS, which Chromium reads on Linux) trusts the authority. */
async function trustingHome(folder: Folder, response: Response): Promise<string> {
  const home = folder.at('home');
  const store = `sql:${home}/.pki/nssdb`;
  mkdirSync(`${home}/.pki/nssdb`, { recursive: true });
  const authority = folder.write('ca.pem', await response.text());
  execFileSync(certutil!, ['-d', store, '-N', '--empty-password']);
  execFileSync(certutil!, ['-d', store, '-A', '-t', 'C,,', '-n', 'Dunlin', '-i', authority]);
  return home;
}

describe('MQTT.js in Chromium', {
  skip: executablePath === undefined || certutil === undefined,
  timeout: 180_000,
}, () => {
  let broker: RunningBroker;
  let server: Server;
  let browser: Browser;
  const folder = new Folder();
  before(async () => {
    broker = await embeddedBroker({
      listeners: [
        { name: 'tcp', port: 0 },
        { name: 'web', protocol: 'ws', port: 0 },
        { name: 'secure', protocol: 'wss', port: 0, tls: { authority: true } },
      ],
      certificateAuthority: { folder: folder.at('ca') },
    });
    server = await serveFiles();
    const home = await trustingHome(folder, await fetch(`http://127.0.0.1:${broker.webPort}/ca.pem`));
    browser = await chromium.launch({
      executablePath: executablePath!,
      headless: true,
      args: flags,
      env: { ...process.env, HOME: home } as Record<string, string>,
      timeout: 120_000,
    });
  });
  after(async () => {
    await browser?.close();
    server?.closeAllConnections();
    server?.close();
    await broker?.stop();
    folder.remove();
  });
  const portOf = (name: string) => broker.broker!.listeners.find((listener) => listener.name === name)!.port;

  for (const { version, name, secure } of [
    { version: 4, name: '3.1.1', secure: false },
    { version: 5, name: '5.0', secure: false },
    { version: 4, name: '3.1.1', secure: true },
    { version: 5, name: '5.0', secure: true },
  ] as const)
    it(`${name} over WebSocket${secure ? ' with TLS' : ''}`, async () => {
      const url = secure ? `wss://localhost:${portOf('secure')}/mqtt` : `ws://127.0.0.1:${broker.webPort}/mqtt`;
      const options = { url, version, prefix: `web${version}${secure}` };
      const tab = await browser.newPage();
      const { port } = server.address() as AddressInfo;
      await tab.goto(`http://127.0.0.1:${port}/#${encodeURIComponent(JSON.stringify(options))}`);
      const handle = await tab.waitForFunction('window.result', undefined, { timeout: 120_000 });
      const result = (await handle.jsonValue()) as { report?: ScenarioReport; error?: string };
      if (process.env.DUNLIN_SCREENSHOT) await tab.screenshot({ path: process.env.DUNLIN_SCREENSHOT });
      assert.equal(result.error, undefined);
      assertReport(result.report!, options);
      await tab.close();
    });
});
