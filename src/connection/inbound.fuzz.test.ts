/** Goal: no damaged packet does harm. Method: a short run of `inbound.fuzz.ts`; `npm run fuzz` does the long one. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fuzzPackets } from './inbound.fuzz.js';

const COUNT = 200_000;
const seed = Number(process.env.DUNLIN_SEED ?? 20_261);

describe('damaged packets', () => {
  for (const [name, version] of [
    ['3.1', 3],
    ['3.1.1', 4],
    ['5.0', 5],
  ] as const)
    it(`of ${name} harm nobody (seed ${seed})`, { timeout: 600_000 }, async () => {
      const result = await fuzzPackets({ version, count: COUNT, seed });
      assert.equal(result.packets, COUNT);
      // The fuzzer is worth little when nearly everything is refused, or nearly nothing.
      assert.ok(result.decoded > COUNT / 4 && result.refused > COUNT / 4, JSON.stringify(result));
    });
});
