/**
 * Nothing acknowledged is lost when the broker is killed: a short run for each mode in `npm test`, longer ones by hand:
 *
 *   DUNLIN_CRASH_KILLS=300 DUNLIN_CRASH_MODES=sync DUNLIN_CRASH_SEED=7 npm test -- durability/crash.test
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { describe, test } from 'node:test';
import { type CrashOptions, type CrashOutcome, runCrash } from './crash-load.js';

const modes = (process.env.DUNLIN_CRASH_MODES ?? 'buffered,sync,faultTolerant').split(',');
const kills = wholeNumber('DUNLIN_CRASH_KILLS') ?? 24;
const seed = wholeNumber('DUNLIN_CRASH_SEED') ?? randomInt(2 ** 31);

function wholeNumber(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined) return undefined;
  assert.match(text, /^[0-9]{1,10}$/, `${name} is ${JSON.stringify(text)}, but must be a whole number`);
  return Number(text);
}

async function run(options: CrashOptions, say: (text: string) => void): Promise<CrashOutcome> {
  const outcome = await runCrash(options);
  say(outcome.summary);
  return outcome;
}

describe('a broker that is killed', () => {
  for (const mode of modes)
    test(`${mode}: ${kills} kills, seed ${seed}`, async (context) => {
      const options = { mode, kills, seed, means: mode === 'memory' ? 'cut' : 'kill' } as const;
      const { violations, folder, summary } = await run(options, (text) => context.diagnostic(text));
      assert.equal(violations.length, 0, `${violations.join('\n')}\n${summary}\nkept: ${folder}`);
    });
});

describe('the crash test itself', () => {
  test('finds nothing wrong where only connections break', async (context) => {
    const options = { mode: 'memory', kills: 8, seed, means: 'cut' } as const;
    const { violations, folder } = await run(options, (text) => context.diagnostic(text));
    assert.equal(violations.length, 0, `${violations.join('\n')}\nkept: ${folder}`);
  });

  test('finds what a broker without storage loses', async () => {
    const { violations, folder } = await runCrash({ mode: 'memory', kills: 2, seed, means: 'kill', patienceMs: 1000 });
    rmSync(folder, { recursive: true, force: true });
    const found = violations.join('\n');
    assert.match(found, /steady5: Session Present is 0 although its session was acknowledged before/);
    assert.match(found, /lost: away5 never got \d+ of p3\/2 \(\d+ acknowledged\), the first p3\/2 #1 /);
  });
});
