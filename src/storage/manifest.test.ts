/** The manifest is whole, or says that it is not; names of files lead to their numbers and back. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { logName, type Manifest, newManifest, numberOf, readManifest, tableName, writeManifest } from './manifest.js';

const manifest: Manifest = { ...newManifest(), generation: 7, tables: [3, 12], logFrom: 13, sequence: 2 ** 40 };

describe('the manifest', () => {
  it('is read as it was written, in each folder', async () => {
    const files = new SimulatedFiles();
    for (const folder of ['data', 'data/copy']) files.makeFolder(folder);
    assert.equal(readManifest(files, 'data'), undefined);
    await writeManifest(files, ['data', 'data/copy'], manifest);
    await writeManifest(files, ['data'], { ...manifest, generation: 8 });
    assert.deepEqual(readManifest(files, 'data'), { ...manifest, generation: 8 });
    assert.deepEqual(readManifest(files, 'data/copy'), manifest);
    assert.deepEqual(files.list('data'), ['copy', 'manifest']);
    assert.equal(files.openCount, 0);
  });

  it('is damaged when any byte is another, or missing', async () => {
    const files = new SimulatedFiles();
    files.makeFolder('data');
    await writeManifest(files, ['data'], manifest);
    const bytes = files.contents('data/manifest');
    for (let at = 0; at < bytes.length; at++) {
      const spoilt = Buffer.from(bytes);
      spoilt[at]! ^= 0x01;
      files.write('data/manifest', spoilt);
      assert.equal(readManifest(files, 'data'), 'damaged', `byte ${at}`);
      files.write('data/manifest', bytes.subarray(0, at));
      assert.equal(readManifest(files, 'data'), 'damaged', `${at} bytes`);
    }
  });

  it('of a new broker has an identity of its own', () => {
    assert.notEqual(newManifest().identity, newManifest().identity);
    assert.match(newManifest().identity, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  });
});

describe('names of files', () => {
  it('have numbers of at least eight digits, in order', () => {
    assert.deepEqual([logName(7), tableName(123_456_789)], ['log-00000007', 'table-123456789']);
    assert.deepEqual([numberOf('log-00000007', 'log'), numberOf('table-123456789', 'table')], [7, 123_456_789]);
    for (const name of [
      'log-7',
      'log-00000007.new',
      'log-00000007.cut',
      'table-00000007',
      'xlog-00000007',
      'manifest',
      'log-0000000x',
    ])
      assert.equal(numberOf(name, 'log'), undefined, name);
  });
});
