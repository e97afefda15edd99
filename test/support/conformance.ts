/**
 * One test per behaviour and protocol version. Its title begins with the requirement ids it proves, `[MQTT-3.1.0-1]` of 5.0
 * and `[MQTT3-3.1.0-1]` of 3.1.1; `npm run ledger` reads them there.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BrokerOptions } from '../../src/index.js';
import type { ProtocolVersion } from '../../src/protocol/index.js';
import { Scene } from './scene.js';
import { PATIENCE_MS } from './wire-client.js';

export const all: readonly ProtocolVersion[] = [3, 4, 5];
export const v3: readonly ProtocolVersion[] = [3, 4];
export const v4: readonly ProtocolVersion[] = [4];
export const v5: readonly ProtocolVersion[] = [5];
/** 3.1.1 and 5.0, where 3.1 says nothing of the kind. */
export const v4v5: readonly ProtocolVersion[] = [4, 5];

export const versionNames = { 3: '3.1', 4: '3.1.1', 5: '5.0' } as const;

type Body = (scene: Scene) => Promise<void>;

/** Registers `body` for each version, with a fresh broker each time. Each version's title names that version's ids. */
export function conformance(
  title: string,
  versions: readonly ProtocolVersion[],
  ...rest: [body: Body] | [options: BrokerOptions, body: Body]
): void {
  const [options, body] = rest.length === 2 ? rest : [{}, rest[0]];
  const ids = title.match(/\[MQTT3?-[^\]]+\]/g) ?? [];
  const behaviour = title.replace(/^(\[[^\]]+\] ?)+/, '');
  const idsOf = (version: ProtocolVersion) => {
    if (version === 3) return [];
    return ids.filter((id) => id.startsWith(version === 5 ? '[MQTT-' : '[MQTT3-'));
  };
  const shown = versions.flatMap(idsOf);
  assert.deepEqual(
    ids.filter((id) => !shown.includes(id)),
    [],
    `"${title}" names ids of a version it does not run for`,
  );
  for (const version of versions)
    test([...idsOf(version), behaviour, `(${versionNames[version]})`].join(' '), {
      timeout: 3 * PATIENCE_MS,
    }, async () => {
      const scene = new Scene(version, options);
      await scene.start();
      try {
        await body(scene);
      } finally {
        await scene.stop();
      }
    });
}

/** Runs the tests that `register` registers at the same time: for those that mostly wait. */
export function concurrently(name: string, register: () => void): void {
  describe(name, { concurrency: true }, register);
}
