/** Goal: no name that comes from outside reaches a file it was not meant for. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { runCa } from '../../apps/cli/ca.js';
import { Scene } from '../support/scene.js';

let outside: string;
let inside: string;
beforeEach(() => {
  outside = mkdtempSync(join(tmpdir(), 'dunlin-paths-'));
  inside = join(outside, 'inside');
  mkdirSync(inside);
});
afterEach(() => rmSync(outside, { recursive: true, force: true }));

const filesBelow = (folder: string): string[] => (readdirSync(folder, { recursive: true }) as string[]).sort();

const paths = [
  '../secret',
  '../../secret',
  '..\\secret',
  '/etc/passwd',
  './.',
  '..',
  'a/../../secret',
  '%2e%2e/secret',
  'file:///etc/passwd',
  '~/secret',
  '$HOME/secret',
];

describe('names that are paths', () => {
  it('in requests for files of httpFolder', async () => {
    const folder = join(inside, 'www');
    mkdirSync(join(folder, 'sub'), { recursive: true });
    writeFileSync(join(folder, 'page.txt'), 'open to all');
    writeFileSync(join(folder, '.key'), 'a secret');
    for (const secret of [join(inside, 'secret'), join(outside, 'secret')]) writeFileSync(secret, 'a secret');
    symlinkSync(join(inside, 'secret'), join(folder, 'link'));
    symlinkSync(inside, join(folder, 'linked'));
    const scene = new Scene(5, {
      config: { listeners: [{ name: 'web', protocol: 'ws', port: 0, allowAnonymous: true, httpFolder: folder }] },
    });
    await scene.start();
    /** As no well-behaved client would write it: the target goes out as it stands. */
    const get = async (target: string): Promise<string> => {
      const socket = connect(scene.port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(`GET ${target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n`);
      return text(socket);
    };
    try {
      assert.match(await get('/page.txt'), /^HTTP\/1\.1 200 [\s\S]*open to all$/);
      const ups = ['..', '%2e%2e', '.%2e', '%252e%252e', '..;', '%c0%ae%c0%ae', '..%00', '%2e%2e%5c'];
      const targets = [
        ...ups.flatMap((up) =>
          ['/', '%2f', '\\', '%5c', '//'].flatMap((slash) =>
            [1, 2, 3].map((depth) => `/sub/${`${up}${slash}`.repeat(depth)}secret`),
          ),
        ),
        ...['/../secret', '//secret', '/link', '/linked/secret', '/.key', '/sub/../.key', '/%2ekey', '/./.key'],
        ...['http://here/../secret', `/${join(inside, 'secret')}`, join(inside, 'secret'), `/\\${inside}\\secret`],
        ...['/page.txt/../../secret', '/page.txt%00/../secret', '/%', '/?/../../secret', '/#/../../secret', '*'],
      ];
      for (const target of targets) {
        const answer = await get(target);
        assert.doesNotMatch(answer, /a secret/, target);
        assert.match(answer, /^HTTP\/1\.1 (400|404|200 [\s\S]*open to all$)/, target);
      }
    } finally {
      await scene.stop();
    }
  });

  it('in client identifiers, user names and topics that are kept', async () => {
    const folder = join(inside, 'data');
    const scene = new Scene(5, { config: { storage: { mode: 'sync', path: folder } } });
    await scene.start();
    const rest = await scene.connect(scene.kept('plain'));
    await rest.deliver('plain', 'x', { qos: 1, retain: true });
    await rest.subscribe('plain', { qos: 1 });
    const files = filesBelow(outside);
    for (const name of paths) {
      const client = await scene.connect(
        scene.kept(name, {
          username: name,
          will: { topicName: name, payload: Buffer.from('x'), qos: 1, retain: true },
        }),
      );
      await client.deliver(name, 'x', { qos: 1, retain: true });
      await client.subscribe(name, { qos: 1 });
      await scene.drop(client);
    }
    await scene.stop();
    assert.deepEqual(
      filesBelow(outside).filter((file) => !files.includes(file) && !file.startsWith(join('inside', 'data'))),
      [],
    );
    assert.deepEqual(
      filesBelow(folder).filter((file) => /secret|passwd|HOME|~|%/.test(file)),
      [],
    );
  });

  it('in the common names of certificates and in what names one', async () => {
    const ca = (...args: string[]): Promise<number> => {
      const stream = { write: () => {} };
      return runCa([...args, '--folder', join(inside, 'ca')], { stdout: stream, stderr: stream });
    };
    assert.equal(await ca('init'), 0);
    const before = filesBelow(join(inside, 'ca'));
    for (const [index, name] of paths.entries()) {
      assert.equal(await ca('issue', name, '--out', join(inside, `out-${index}`)), 0, name);
      assert.notEqual(await ca('show', `../${name}`), 0, name);
      assert.notEqual(await ca('revoke', `../${name}`), 0, name);
    }
    for (const file of filesBelow(outside))
      assert.match(file, /^inside(\/(ca(\/[\w.-]+)*|out-\d+(\/[\w%$~.-]+)?))?$/, file);
    const after = filesBelow(join(inside, 'ca'));
    assert.deepEqual(
      before.filter((file) => !after.includes(file)),
      [],
    );
  });
});
