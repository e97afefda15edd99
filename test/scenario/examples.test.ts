/** Every program of `examples/` is started as its head says, and used by MQTT.js. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { Lines, root, within } from '../interop/support.js';

interface Example {
  readonly port: number;
  readonly output: Lines;
  /** Ends it as Ctrl+C does; it must go by itself. */
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
const clients = new Set<MqttClient>();
after(() => {
  for (const client of clients) client.end(true);
  for (const child of running) child.kill('SIGKILL');
});

async function start(name: string): Promise<Example> {
  const child = spawn(process.execPath, [join(root, 'examples', name), '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  running.add(child);
  const exited = once(child, 'exit').finally(() => running.delete(child));
  const output = new Lines(child.stdout!);
  const line = await output.find(/ on port \d+$/);
  return {
    port: Number(/\d+$/.exec(line)![0]),
    output,
    stop: async () => {
      child.kill('SIGINT');
      assert.deepEqual(await within(exited, `${name} to end`), [0, null]);
    },
  };
}

async function connect(url: string, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, protocolVersion: 5, ...options }, false);
  clients.add(client);
  return client;
}

/** The next message of a client as `topic payload`. */
function next(client: MqttClient): Promise<string> {
  const came = new Promise<string>((resolve) =>
    client.once('message', (topic, payload) => resolve(`${topic} ${payload}`)),
  );
  return within(came, 'a message');
}

const reasonCode = (code: number) => (error: Error & { code?: number }) => error.code === code;

describe('examples', { timeout: 120_000 }, () => {
  it('plain-node.mjs', async () => {
    const { port, output, stop } = await start('plain-node.mjs');
    const url = `mqtt://127.0.0.1:${port}`;
    await assert.rejects(connect(url), reasonCode(0x86));
    await assert.rejects(connect(url, { username: 'boiler', password: 'wrong' }), reasonCode(0x86));
    const watcher = await connect(url, { clientId: 'w', username: 'watcher', password: 'secret' });
    await watcher.subscribeAsync('average/#', { qos: 1 });
    await output.find(/^w listens to average\/#$/);
    const boiler = await connect(url, { clientId: 'b', username: 'boiler', password: 'boiler-key' });
    await output.find(/^b is here as boiler$/);
    let message = next(watcher);
    await boiler.publishAsync('device/boiler/temp', '60', { qos: 1 });
    assert.equal(await message, 'average/boiler/temp 60.00');
    message = next(watcher);
    await boiler.publishAsync('device/boiler/temp', '70', { qos: 1 });
    assert.equal(await message, 'average/boiler/temp 61.00');
    await assert.rejects(boiler.publishAsync('device/pump/temp', '1', { qos: 1 }), reasonCode(0x87));
    await assert.rejects(boiler.subscribeAsync('#'), /Not authorized/);
    await boiler.endAsync();
    await output.find(/^b left: /);
    await stop();
  });

  for (const name of ['express-websocket.mjs', 'fastify-websocket.mjs'])
    it(name, async () => {
      const { port, stop } = await start(name);
      const web = `http://127.0.0.1:${port}`;
      const client = await connect(`ws://127.0.0.1:${port}/mqtt`, { clientId: 'page' });
      await client.subscribeAsync('hall/#', { qos: 1 });
      const message = next(client);
      const publish = (body: object) =>
        fetch(`${web}/publish`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
      const response = await publish({ topic: 'hall/lamp', text: 'on' });
      assert.deepEqual(await response.json(), { reasonCode: 0 });
      assert.equal(await message, 'hall/lamp on');
      assert.equal((await publish({ topic: 'hall/#', text: 'on' })).status, 400);
      assert.deepEqual(await (await fetch(`${web}/clients`)).json(), ['page']);
      assert.match(await (await fetch(web)).text(), /MQTT in a page/);
      assert.match((await fetch(`${web}/mqtt.js`)).headers.get('content-type')!, /javascript/);
      assert.equal((await fetch(`${web}/none`)).status, 404);
      await assert.rejects(connect(`ws://127.0.0.1:${port}/other`));
      await stop();
    });

  it('replace-aedes.mjs', async () => {
    const { port, output, stop } = await start('replace-aedes.mjs');
    const url = `mqtt://127.0.0.1:${port}`;
    await assert.rejects(connect(url, { username: 'alice', password: 'x', protocolVersion: 4 }), reasonCode(4));
    const alice = await connect(url, { clientId: 'a', username: 'alice', password: 'wonderland', protocolVersion: 4 });
    await output.find(/^a is ready$/);
    const notice = next(alice);
    await alice.subscribeAsync('notice', { qos: 1 });
    assert.equal(await notice, 'notice open');
    await output.find(/^a subscribed to notice$/);
    const bob = await connect(url, { clientId: 'b', username: 'bob', password: 'builder' });
    const own = next(alice);
    await bob.publishAsync('notice', 'closed', { qos: 1 });
    assert.equal(await own, 'notice closed');
    await output.find(/^b published notice: closed$/);
    await assert.rejects(bob.publishAsync('locked/door', 'open', { qos: 1 }), reasonCode(0x87));
    await alice.publishAsync('locked/door', 'open', { qos: 1 }); // 3.1.1 has no code for it, and the client stays
    await assert.rejects(bob.subscribeAsync('locked/#'), /Not authorized/);
    await bob.endAsync();
    await output.find(/^b is gone: /);
    assert.ok(alice.connected);
    await stop();
  });
});
