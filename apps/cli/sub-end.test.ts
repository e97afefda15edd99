/**
 * Goal: `dunlin sub` takes from a session that is kept what it prints, and nothing more. Method: a server of a few lines that
 * answers SUBSCRIBE with SUBACK and three messages at QoS 1 in one write, and notes what is acknowledged.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const connack = Buffer.from([0x20, 2, 0, 0]);
const suback = (packetId: Buffer) => Buffer.from([0x90, 3, ...packetId, 1]);
/** PUBLISH at QoS 1 to topic t with packet identifier and payload of that number; `retain` sets the flag. */
const publish = (number: number, retain = false) =>
  Buffer.from([0x32 | (retain ? 1 : 0), 6, 0, 1, 0x74, 0, number, 0x30 + number]);

/** Packet identifiers of the PUBACKs of the connection that ended last, and how it ended. */
let acknowledged: number[] = [];
let farewell = false;
let messages: Buffer[] = [];

function serve(socket: Socket): void {
  let rest = Buffer.alloc(0);
  acknowledged = [];
  farewell = false;
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    // every packet here is shorter than 128 bytes
    while (rest.length >= 2 && rest.length >= 2 + rest[1]!) {
      const packet = rest.subarray(0, 2 + rest[1]!);
      rest = rest.subarray(packet.length);
      const type = packet[0]! >> 4;
      if (type === 1) socket.write(connack);
      else if (type === 8) socket.write(Buffer.concat([suback(packet.subarray(2, 4)), ...messages]));
      else if (type === 4) acknowledged.push(packet.readUInt16BE(2));
      else if (type === 14) farewell = true;
    }
  });
}

async function subscribe(port: number, ...args: string[]): Promise<{ output: string; exitCode: number | null }> {
  const file = fileURLToPath(new URL('./sub.js', import.meta.url));
  const script = `import { runSub } from ${JSON.stringify(file)}; process.exitCode = await runSub(process.argv.slice(1));`;
  const all = ['-h', '127.0.0.1', '-p', String(port), '-t', 't', '-q', '1', '-c', '-i', 'kept', ...args];
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, '--', ...all], {
    env: { ...process.env, XDG_CONFIG_HOME: '/nonexistent' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { output, exitCode };
}

describe('what sub leaves to a session that is kept', () => {
  const server = createServer(serve);
  let port = 0;

  before(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });
  after(() => server.close());

  test('-C acknowledges as many messages as it prints', async () => {
    messages = [publish(1), publish(2), publish(3)];
    assert.deepEqual(await subscribe(port, '-C', '2'), { output: '1\n2\n', exitCode: 0 });
    assert.deepEqual(acknowledged, [1, 2]);
    assert.ok(farewell);
  });

  test('-E takes no message that comes with the answer', async () => {
    messages = [publish(1), publish(2, true)];
    assert.deepEqual(await subscribe(port, '-E'), { output: '', exitCode: 0 });
    assert.deepEqual(acknowledged, []);
    assert.ok(farewell);
  });

  test('--retained-only leaves the message that ends it', async () => {
    messages = [publish(1, true), publish(2), publish(3)];
    assert.deepEqual(await subscribe(port, '--retained-only'), { output: '1\n', exitCode: 0 });
    assert.deepEqual(acknowledged, [1]);
  });

  test('what is filtered out is acknowledged all the same', async () => {
    messages = [publish(1, true), publish(2, true), publish(3)];
    assert.deepEqual(await subscribe(port, '-R', '-C', '1'), { output: '3\n', exitCode: 0 });
    assert.deepEqual(acknowledged, [1, 2, 3]);
  });

  test('-d tells of the answer before the messages behind it', async () => {
    messages = [publish(1)];
    const { output } = await subscribe(port, '-C', '1', '-d');
    assert.ok(output.indexOf('Subscribed (mid: 1): 1') < output.indexOf('received PUBLISH'), output);
  });
});
