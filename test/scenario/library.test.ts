/** Goal: the package as a program has it: by `import`, by `require`, in a worker thread, and silent unless it is asked to write. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { root } from '../interop/support.js';

/** Starts a broker, publishes over TCP to a subscriber of the program, stops, and then nothing keeps the process alive. */
const program = `
  const { connect } = require('node:net');
  const received = [];
  const broker = dunlin.createBroker({ config: { listeners: [{ host: '127.0.0.1', port: 0 }] } });
  broker.subscribe('#', ({ topicName, payload }) => received.push(topicName + ' ' + payload));
  broker.start().then(() => {
    const socket = connect(broker.listeners[0].port, '127.0.0.1');
    socket.write(Buffer.from('101000044d51545404020000000463646566', 'hex'));
    socket.write(Buffer.from('320700016100016869e000', 'hex'));
    socket.resume().on('close', () => broker.stop().then(() => tell(received.join())));
  });
`;

async function run(type: 'commonjs' | 'module', script: string) {
  const options = { cwd: root, timeout: 60_000 };
  return promisify(execFile)(process.execPath, [`--input-type=${type}`, '-e', script], options);
}

describe('the package', () => {
  it('is imported', async () => {
    const imports = "import * as dunlin from 'dunlin'; import { createRequire } from 'node:module';";
    const script = `${imports} const require = createRequire(import.meta.url); const tell = () => {}; ${program}`;
    assert.deepEqual(await run('module', script), { stdout: '', stderr: '' });
  });

  it('is required', async () => {
    const { stdout, stderr } = await run(
      'commonjs',
      `const dunlin = require('dunlin'); const tell = console.log; ${program}`,
    );
    assert.deepEqual({ stdout, stderr }, { stdout: 'a hi\n', stderr: '' });
  });

  it('runs in a worker thread, which ends with it', async () => {
    const inside = `const dunlin = require('dunlin'); const { parentPort: port } = require('node:worker_threads');
      const tell = (text) => port.postMessage(text); ${program}`;
    const script = `const { Worker } = require('node:worker_threads');
      const worker = new Worker(${JSON.stringify(inside)}, { eval: true });
      worker.on('message', (text) => console.log(text)).on('exit', (code) => console.log(code));`;
    const { stdout, stderr } = await run('commonjs', script);
    assert.deepEqual({ stdout, stderr }, { stdout: 'a hi\n0\n', stderr: '' });
  });
});
