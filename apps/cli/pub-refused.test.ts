/** Goal: a refused publish says why. Method: a publish below $SYS, which a broker refuses with a reason string. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createBroker } from '../../src/index.js';

test('the reason string of a refused publish follows the warning', async (t) => {
  const broker = createBroker({ config: { listeners: [{ name: 'test', port: 0, host: '127.0.0.1' }] } });
  await broker.start();
  t.after(() => broker.stop());
  const port = String(broker.listeners[0]?.port);
  const file = fileURLToPath(new URL('./pub.js', import.meta.url));
  const script = `import { runPub } from ${JSON.stringify(file)}; process.exitCode = await runPub(process.argv.slice(1));`;
  const args = ['-h', '127.0.0.1', '-p', port, '-V', '5', '-q', '1', '-t', '$SYS/x', '-m', 'x'];
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, '--', ...args], {
    env: { ...process.env, XDG_CONFIG_HOME: '/nonexistent' },
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const [exitCode] = (await once(child, 'close')) as [number | null];
  assert.equal(exitCode, 0);
  assert.equal(errors, 'Warning: Publish 1 failed: Not authorized.\nthe client may not publish to this topic\n');
});
