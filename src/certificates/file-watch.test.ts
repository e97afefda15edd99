import assert from 'node:assert/strict';
import { after, it } from 'node:test';
import { Folder } from '../../test/support/pki.js';
import { FileWatch } from './file-watch.js';

const folder = new Folder();
after(() => folder.remove());

it('a change while the files are being read is noticed as well', { timeout: 90_000 }, async () => {
  const file = folder.write('list', 'first');
  let read = 0;
  let watch: FileWatch | undefined;
  const keepsRunning = setInterval(() => {}, 1000); // the watch alone does not
  try {
    await new Promise<void>((resolve) => {
      watch = new FileWatch([file], () => {
        const mark = watch!.mark();
        if (++read === 1) folder.write('list', 'third');
        else resolve();
        watch!.read(mark, [file]);
      });
      folder.write('list', 'second');
    });
  } finally {
    watch?.stop();
    clearInterval(keepsRunning);
  }
  assert.equal(read, 2);
});
