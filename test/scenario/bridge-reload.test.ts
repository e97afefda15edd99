/** Bridges of a configuration file, while the process runs: SIGHUP touches those that differ, and takes a new password. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { endProcess, Lines, root } from '../interop/support.js';
import { at, type BridgeInput, Brokers } from '../support/bridge-scene.js';
import { Folder } from '../support/pki.js';

describe('bridges of a configuration file', () => {
  let brokers: Brokers;
  let folder: Folder;
  beforeEach(() => {
    brokers = new Brokers();
    folder = new Folder();
  });
  afterEach(async () => {
    await brokers.stop();
    folder.remove();
  });

  it('change on SIGHUP, one at a time, without a restart', async () => {
    const remote = await brokers.start({
      listeners: [{ name: 'test', port: 0, allowAnonymous: false }],
      users: [{ username: 'site', password: 'right' }],
    });
    const clients = () => remote.clients().map(({ clientId }) => clientId);
    const bridge = (name: string, password: string): BridgeInput => ({
      name,
      remotes: at(remote),
      username: 'site',
      password,
      reconnect: { minimumSeconds: 1, maximumSeconds: 1 },
      topics: [{ topic: '#', direction: 'out' }],
    });
    const file = join(folder.path, 'dunlin.yaml');
    const write = (...bridges: BridgeInput[]) =>
      writeFileSync(file, JSON.stringify({ listeners: [], log: { format: 'json' }, bridges }));
    write(bridge('stays', 'right'), bridge('wrong', 'wrong'));
    const child = spawn(process.execPath, [join(root, 'bin', 'dunlin.mjs'), '-c', file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const output = new Lines(child.stdout);
      await output.find(/bridge\.connected.*"stays"|"stays".*bridge\.connected/);
      assert.match(await output.find(/bridge\.not-connected/), /Bad User Name or Password/i);

      write(bridge('stays', 'right'), bridge('wrong', 'right'), bridge('more', 'right'));
      child.kill('SIGHUP');
      await output.find(/Bridge \\"wrong\\" connects anew/);
      await output.find(/Bridge \\"more\\" was added/);
      await output.find(/bridge\.connected.*"more"|"more".*bridge\.connected/);
      await output.find(/bridge\.connected.*"wrong"|"wrong".*bridge\.connected/);
      assert.deepEqual(clients().sort(), ['more', 'stays', 'wrong']);

      const left = new Promise<void>((resolve) => {
        remote.on('clientDisconnected', ({ client }) => client.clientId === 'more' && resolve());
      });
      write(bridge('stays', 'right'), bridge('wrong', 'right'));
      child.kill('SIGHUP');
      await output.find(/Bridge \\"more\\" was removed/);
      await left;

      writeFileSync(file, JSON.stringify({ listeners: [], bridges: [{ name: 'broken' }] }));
      child.kill('SIGHUP');
      await output.find(/configuration\.rejected/);
      assert.deepEqual(clients().sort(), ['stays', 'wrong'], 'a file with problems changes nothing');
      assert.equal(output.lines.filter((line) => /"stays"/.test(line) && /bridge\./.test(line)).length, 1);
      assert.ok(!output.lines.some((line) => /"right"/.test(line)), 'no password in the log');
    } finally {
      await endProcess(child, 'SIGTERM');
    }
  });
});
