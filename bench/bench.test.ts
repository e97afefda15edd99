// Every scenario once, tiny, against a real broker, so that the bench never rots. Nothing here judges a speed.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { LoadPlan } from '../apps/cli/load/index.js';
import { measure } from './measure.js';
import { benchCertificate, choosePeers, findProgram } from './peers/index.js';
import { SCENARIOS, type Scenario } from './scenario/index.js';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const leftOut = findProgram('mosquitto') === undefined;
if (leftOut && process.env.DUNLIN_LEFT_OUT !== undefined)
  appendFileSync(process.env.DUNLIN_LEFT_OUT, 'bench scenarios: mosquitto is not installed\n');

/** The same scenario with few clients and few messages: so few that Mosquitto drops none of them, however busy the machine is. */
function tiny(scenario: Scenario): Scenario {
  const { plan } = scenario;
  const few = (value: number | undefined, max: number) => Math.min(value ?? 1, max);
  const small: Partial<LoadPlan> = {
    ...plan,
    publishers: few(plan.publishers, 4),
    subscribers: few(plan.subscribers, 4),
    rate: few(plan.rate || 500, 500),
    messages: few(plan.messages ?? 0, 200),
    filters: 5,
    pace: 'timer',
  };
  return { ...scenario, plan: small, length: scenario.kind === 'load' ? 1 : 60 };
}

const withoutTls = findProgram('openssl') === undefined;
if (withoutTls && process.env.DUNLIN_LEFT_OUT !== undefined)
  appendFileSync(process.env.DUNLIN_LEFT_OUT, 'bench scenarios over TLS: openssl is not installed\n');

describe('scenarios on mosquitto', { skip: leftOut }, () => {
  for (const scenario of SCENARIOS) {
    test(scenario.name, { skip: scenario.tls === true && withoutTls }, async () => {
      const [peer] = choosePeers({ names: ['mosquitto'], targets: [], root, node: process.execPath });
      assert.ok(peer);
      const running = await peer.start({
        core: undefined,
        tls: scenario.tls === undefined ? undefined : benchCertificate(),
      });
      try {
        const options = { seconds: 1, warmUpSeconds: 0, core: undefined, mqload: undefined };
        const figures = await measure(tiny(scenario), running, options);
        assert.ok(figures);
        assert.equal(figures.closed, 0);
        assert.equal(figures.duplicates, 0);
        assert.ok(figures.perSecond > 0, 'something happened');
        assert.ok(figures.p99 >= figures.p50);
        if (scenario.cost === 'message') assert.ok(figures.p50 > 0, 'latency was measured');
        if (scenario.plan.qos !== undefined && scenario.plan.qos > 0) assert.equal(figures.lost, 0);
        assert.ok(figures.cost !== undefined, 'the broker was watched');
      } finally {
        await running.stop();
      }
    });
  }
});
