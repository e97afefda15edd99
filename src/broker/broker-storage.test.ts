/** What is found damaged while nobody asked for it is logged, and the broker goes on. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { Fault, silentLogger } from '../base/index.js';
import { resolveConfig } from '../config/index.js';
import { IN_MEMORY } from '../protocol/index.js';
import type { SessionRegistry } from '../session/index.js';
import { BrokerStorage } from './broker-storage.js';

it('a damaged file that the sweep comes upon is named once, and what else is to be swept is', async () => {
  const path = mkdtempSync(join(tmpdir(), 'dunlin-'));
  const alive = setInterval(() => {}, 1000); // the sweep keeps no process alive
  try {
    const config = resolveConfig({ storage: { mode: 'buffered', path } });
    const errors: string[] = [];
    const log = { ...silentLogger, error: (event: string, sentence: string) => errors.push(`${event} ${sentence}`) };
    const storage = new BrokerStorage(config, { ...config.limits }, () => IN_MEMORY, log);
    let swept = 0;
    storage.retained!.sweep = () => {
      throw new Fault('STORAGE_DAMAGED', 'table-00000001 is damaged');
    };
    const goesOn = new Promise<void>((resolve) => {
      storage.sessions!.sweep = () => {
        if (++swept === 3) resolve();
        return swept < 3;
      };
    });
    const sessions = { restore: () => {}, saveCounts: () => {} } as unknown as SessionRegistry;
    await storage.open(sessions);
    await goesOn;
    storage.stopSweeping();
    await storage.close();
    assert.deepEqual(errors, ['STORAGE_DAMAGED table-00000001 is damaged']);
  } finally {
    clearInterval(alive);
    rmSync(path, { recursive: true, force: true });
  }
});
