/** Dynamic security that counts for one listener, and what clients of the others may not do with it. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { makeAdministratorFile } from '../../src/policy/index.js';
import { ReasonCode } from '../../src/protocol/index.js';
import { MosquittoScene } from '../support/mosquitto-scene.js';

const TOPIC = '$CONTROL/dynamic-security/v1';

it('is not administered through a listener where it does not count', async () => {
  const scene = new MosquittoScene();
  try {
    await makeAdministratorFile(`${scene.folder}/dynsec.json`, 'admin', 'secret');
    await scene.start(
      [
        'per_listener_settings true',
        'listener PORT 127.0.0.1',
        'plugin mosquitto_dynamic_security.so',
        'plugin_opt_config_file DIR/dynsec.json',
        'listener PORT2 127.0.0.1',
        'allow_anonymous true',
      ].join('\n'),
    );
    const stranger = await scene.client(5, 2);
    await stranger.connect({ clientId: 'stranger' });
    await stranger.subscribe(`${TOPIC}/response`);
    const command = { command: 'setClientPassword', username: 'admin', password: 'mine' };
    const answer = await stranger.deliver(TOPIC, JSON.stringify({ commands: [command] }), { qos: 1 });
    assert.equal(answer, ReasonCode.NotAuthorized);
    await stranger.quiet();
    const admin = await scene.client(5, 1);
    await admin.connect({ clientId: 'admin', username: 'admin', password: 'secret' });
  } finally {
    await scene.stop();
  }
});
