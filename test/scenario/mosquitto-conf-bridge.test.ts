/** Goal: `connection` sections and the dynamic security plugin in a mosquitto.conf do what they do there. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { MosquittoScene, withConf } from '../support/mosquitto-scene.js';

describe('bridges of a mosquitto.conf', () => {
  it('forward by the rules of their topics', () =>
    withConf('allow_anonymous true\nlistener PORT 127.0.0.1\n', async (remote) => {
      const far = await remote.client(4);
      await far.connect({ clientId: 'far' });
      await far.subscribe('remote/#', { qos: 1 });
      await withConf(
        [
          'allow_anonymous true',
          'listener PORT 127.0.0.1',
          'connection office',
          `address 127.0.0.1:${remote.ports[0]}`,
          'remote_clientid edge',
          'notifications false',
          'topic sensor/# out 1 local/ remote/office1/',
          'topic command/# in 1 local/ to/office1/',
          'topic "" out 1 exact/here remote/there',
        ].join('\n'),
        async (local) => {
          const near = await local.client(4);
          await near.connect({ clientId: 'near' });
          await near.subscribe('local/#', { qos: 1 });
          near.publish('local/sensor/temperature', '21', { qos: 1 });
          const message = await far.message();
          assert.equal(`${message.topicName} ${message.payload}`, 'remote/office1/sensor/temperature 21');
          far.puback(message.packetId);
          near.publish('exact/here', 'x', { qos: 1 });
          assert.equal((await far.message()).topicName, 'remote/there');
          assert.deepEqual(
            remote.broker
              .clients()
              .map(({ clientId }) => clientId)
              .sort(),
            ['edge', 'far'],
          );
          assert.equal(local.broker.bridges()[0]!.name, 'office');
        },
      );
    }));
});

describe('dynamic security of a mosquitto.conf', () => {
  it('is there with the administrator of password_init_file', async () => {
    const scene = new MosquittoScene();
    scene.file('init', 'first password\n');
    try {
      await scene.start(
        'listener PORT 127.0.0.1\nplugin /usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so\nplugin_opt_config_file DIR/dynamic-security.json\nplugin_opt_password_init_file DIR/init\n',
      );
      assert.ok(existsSync(join(scene.folder, 'dynamic-security.json')));
      const admin = await scene.client(5);
      await admin.connect({ clientId: 'admin', username: 'admin', password: 'first password' });
      await admin.subscribe('$CONTROL/dynamic-security/v1/response');
      admin.publish('$CONTROL/dynamic-security/v1', JSON.stringify({ commands: [{ command: 'listClients' }] }));
      assert.match((await admin.message()).payload, /"admin"/);
      for (const username of [undefined, 'ada']) {
        const other = await scene.client(5);
        other.sendConnect({ clientId: 'other', ...(username === undefined ? {} : { username, password: 'x' }) });
        await other.refused(username === undefined ? 0x87 : 0x86);
      }
    } finally {
      await scene.stop();
    }
  });
});
