/** Goal: pub and sub end when they are told to, or when their connection ends, whatever does not go on. Method: a server, and a reader, that read nothing. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createBroker } from '../../src/index.js';

/** A server that says CONNACK and is silent; `connected` is called then. */
async function deafServer(t: TestContext, connected: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', (connect: Buffer) => {
      const isVersion5 = connect[connect.indexOf('MQTT') + 4] === 5;
      socket.write(Buffer.from(isVersion5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0]));
      socket.pause();
      connected(socket);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

function publisher(t: TestContext, port: number, ...args: string[]) {
  return tool(t, 'Pub', port, ...args);
}

function tool(t: TestContext, name: 'Pub' | 'Sub' | 'Rr', port: number, ...args: string[]) {
  const file = fileURLToPath(new URL(`./${name.toLowerCase()}.js`, import.meta.url));
  const script = `import { run${name} } from ${JSON.stringify(file)}; process.exitCode = await run${name}(process.argv.slice(1));`;
  const all = ['-h', '127.0.0.1', '-p', String(port), '-t', 'a', ...args];
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, '--', ...all], {
    env: { ...process.env, XDG_CONFIG_HOME: '/nonexistent' },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin!.on('error', () => {}); // it stays open here, and ends there
  t.after(() => child.kill('SIGKILL'));
  return child;
}

/** Lines until the other side takes no more. */
function pour(input: NodeJS.WritableStream): void {
  const lines = `${'x'.repeat(999)}\n`.repeat(1000);
  for (let megabytes = 0; megabytes < 64; megabytes++) if (!input.write(lines)) return;
}

for (const qos of ['0', '1'])
  test(`lines at QoS ${qos} to a server that reads nothing end with the first signal`, async (t) => {
    const connected = deferred();
    const port = await deafServer(t, () => connected.resolve());
    const child = publisher(t, port, '-l', '-q', qos);
    await connected.promise;
    pour(child.stdin!);
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [128 + 15, null]);
  });

test('a pause between two repetitions ends with the first signal', async (t) => {
  const connected = deferred();
  const port = await deafServer(t, () => connected.resolve());
  const child = publisher(t, port, '-m', 'x', '--repeat', '2', '--repeat-delay', '10000');
  await connected.promise;
  child.kill('SIGINT');
  assert.deepEqual(await once(child, 'exit'), [128 + 2, null]);
});

test('rr that has no response yet says so when a signal ends it', async (t) => {
  const connected = deferred();
  const port = await deafServer(t, () => connected.resolve());
  const child = tool(t, 'Rr', port, '-e', 'b', '-m', 'x');
  await connected.promise;
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [128 + 15, null]);
});

test('lines end when the connection does, though more may come', async (t) => {
  const port = await deafServer(t, (socket) => socket.end());
  const child = publisher(t, port, '-l');
  assert.deepEqual(await once(child, 'exit'), [7, null]);
});

test('sub ends with the first signal while nobody reads what it prints', async (t) => {
  const broker = createBroker({ config: { listeners: [{ name: 'test', port: 0, host: '127.0.0.1' }] } });
  await broker.start();
  t.after(() => broker.stop());
  const subscribed = deferred();
  broker.on('subscribed', () => subscribed.resolve());
  const child = tool(t, 'Sub', broker.listeners[0]!.port!, '-q', '1');
  await subscribed.promise;
  for (let count = 0; count < 2; count++) broker.publish('a', Buffer.alloc(1_000_000, 'x'), { qos: 1 });
  // it has printed them, as far as that goes, when it has acknowledged them
  while (broker.status().queuedMegabytes > 0 || broker.metrics.publishSent < 2) await new Promise(setImmediate);
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});

test('sub reads no further while nobody reads what it prints, and all of it once somebody does', async (t) => {
  const [messages, payloadBytes] = [640, 100_000];
  const body = Buffer.concat([Buffer.from([0, 1]), Buffer.from('a'), Buffer.alloc(payloadBytes, 'x')]);
  const publish = Buffer.concat([
    Buffer.from([0x30, 0x80 | (body.length & 0x7f), 0x80 | ((body.length >> 7) & 0x7f), body.length >> 14]),
    body,
  ]);
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const child = tool(t, 'Sub', (server.address() as AddressInfo).port, '-k', '5');
  const [socket] = (await once(server, 'connection')) as [Socket];
  t.after(() => socket.destroy());
  let pings = 0;
  let pinged = () => {};
  socket.on('data', (bytes: Buffer) => {
    const type = bytes[0]! >> 4;
    if (type === 1) socket.write(Buffer.from([0x20, 2, 0, 0]));
    else if (type === 8) {
      socket.write(Buffer.from([0x90, 3, bytes[2]!, bytes[3]!, 0]));
      for (let count = 0; count < messages; count++) socket.write(publish);
    } else if (type === 12) {
      pings++;
      pinged();
    }
  });
  // Silent for longer than it waits for answers to PINGREQ, though it has asked: it does not take its own pause for the server's silence.
  await new Promise<void>((resolve) => {
    pinged = () => {
      if (pings === 3) resolve();
    };
  });
  assert.ok(socket.writableLength > (messages * payloadBytes) / 2, `${socket.writableLength} bytes are left`);
  let printed = 0;
  const all = new Promise<void>((resolve) => {
    child.stdout!.on('data', (bytes: Buffer) => {
      printed += bytes.length;
      if (printed === messages * (payloadBytes + 1)) resolve();
    });
  });
  await all;
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});

function deferred() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
