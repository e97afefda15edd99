/** Goal: scripts learn how a publish ended. Method: a broker that refuses, and a server that hangs up. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createBroker } from '../../src/index.js';

async function publish(port: number, ...args: string[]): Promise<{ exitCode: number | null; errors: string }> {
  const file = fileURLToPath(new URL('./pub.js', import.meta.url));
  const script = `import { runPub } from ${JSON.stringify(file)}; process.exitCode = await runPub(process.argv.slice(1));`;
  const all = ['-h', '127.0.0.1', '-p', String(port), '-m', 'x', ...args];
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, '--', ...all], {
    env: { ...process.env, XDG_CONFIG_HOME: '/nonexistent' },
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { exitCode, errors };
}

test('the reason string of a refused publish follows the warning', async (t) => {
  const broker = createBroker({ config: { listeners: [{ name: 'test', port: 0, host: '127.0.0.1' }] } });
  await broker.start();
  t.after(() => broker.stop());
  const { exitCode, errors } = await publish(broker.listeners[0]!.port!, '-V', '5', '-q', '1', '-t', '$SYS/x');
  assert.equal(exitCode, 0);
  assert.equal(errors, 'Warning: Publish 1 failed: Not authorized.\nthe client may not publish to this topic\n');
});

test('a connection that is lost is exit code 7', async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  for (const qos of ['0', '1']) {
    const { exitCode, errors } = await publish((server.address() as AddressInfo).port, '-t', 'a', '-q', qos);
    assert.equal(exitCode, 7);
    assert.match(errors, /was lost/);
  }
});

test('a message that makes the server hang up is not sent again and again', async (t) => {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(Buffer.from([0x20, 2, 0, 0]));
      socket.once('data', () => socket.end());
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { exitCode } = await publish((server.address() as AddressInfo).port, '-t', 'a', '-q', '1');
  assert.deepEqual([exitCode, connections], [7, 1]);
});
