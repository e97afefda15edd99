/** What a store says when it is closed: whether everything is stored. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedFiles } from '../../test/support/simulated-files.js';
import { silentLogger } from '../base/index.js';
import { Random } from '../base/random.fuzz.js';
import { Store } from './store.js';

const open = (files: SimulatedFiles) =>
  Store.open({ mode: 'sync', folder: 'data', files, log: silentLogger, inline: true });

describe('closing', () => {
  it('tells of a sync that was under way and failed, though a later one of the same file works', async () => {
    const files = new SimulatedFiles();
    const store = await open(files);
    files.delaySync = true;
    store.put('k', Buffer.from('value'));
    store.commit();
    files.syncFailures = 1;
    files.delaySync = false;
    const closing = store.close();
    files.releaseSyncs();
    await assert.rejects(closing, /EIO/);
    const next = await open(files.powerCut(new Random(1)));
    assert.equal(next.get('k'), undefined, 'the disk never got it');
    await next.close();
  });
});
