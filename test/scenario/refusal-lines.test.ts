/** A client that goes on asking for what it may not have is counted, and does not fill the log. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { notAuthorized } from '../access/login.js';
import { Scene } from '../support/scene.js';
import { recordingLogger } from '../support/tls-scene.js';

const TIMES = 500;

it('refused publishes and subscriptions of a client take a bounded number of lines', async () => {
  const { log, lines } = recordingLogger();
  const authorization = { sources: [{ type: 'rules', rules: [{ permit: 'allow', filters: ['ok/#'] }] }] } as const;
  const scene = new Scene(5, { config: { authorization }, logger: log });
  await scene.start();
  try {
    const client = await scene.connect({ clientId: 'eager' });
    for (let time = 0; time < TIMES; time++) {
      client.publish('secret', 'x', { qos: 0 });
      assert.equal(await client.deliver('secret', 'x', { qos: 1 }), notAuthorized);
      assert.deepEqual(await client.subscribe('secret'), [notAuthorized]);
    }
    const told = lines.filter(({ event }) => /^(publish|subscribe)\.refused$/.test(event));
    assert.equal(told[0]?.fields.clientId, 'eager');
    assert.ok(told.length >= 20 && told.length < TIMES, `${told.length} lines`);
    assert.equal(scene.broker.metrics.publishRefused, 2 * TIMES);
    assert.equal(scene.broker.metrics.subscriptionsRefused, TIMES);
  } finally {
    await scene.stop();
  }
});
