/** Goal: check_retain_source withholds what is retained of clients that lost their right, as the access list is now. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MosquittoScene } from '../support/mosquitto-scene.js';
import { retainedNow } from '../support/retained-now.js';

const retained = { qos: 1, retain: true } as const;

describe('check_retain_source in a mosquitto.conf', () => {
  const reads = 'user reader\ntopic read #\n';
  const writes = 'user ada\ntopic write t/#\nuser bob\ntopic write t/#\npattern write of/%c/#\n';

  async function withConf(text: string, test: (scene: MosquittoScene) => Promise<void>): Promise<void> {
    const scene = new MosquittoScene();
    try {
      scene.file('acl', reads + writes);
      await scene.start(`allow_anonymous true\nlog_type all\n${text}\n`);
      await test(scene);
    } finally {
      await scene.stop();
    }
  }

  async function client(scene: MosquittoScene, username: string, number = 1, clientId = `of-${username}`) {
    const made = await scene.client(5, number);
    await made.connect({ clientId, username });
    return made;
  }

  async function publishAll(scene: MosquittoScene): Promise<void> {
    for (const name of ['ada', 'bob']) {
      const publisher = await client(scene, name);
      await publisher.deliver(`t/${name}`, `t of ${name}`, retained);
      await publisher.deliver(`of/of-${name}/x`, `own of ${name}`, retained);
      publisher.stream.destroy();
    }
  }

  /** Another access list, once it is in force. */
  async function rewrite(scene: MosquittoScene, text: string): Promise<void> {
    const read = () => scene.log.filter((line) => /a changed file was read/.test(line)).length;
    const before = read();
    scene.file('acl', text);
    while (read() === before) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  const all = ['own of ada', 'own of bob', 't of ada', 't of bob'];
  const withoutAda = `${reads}user bob\ntopic write t/#\npattern write of/of-bob/#\n`;

  for (const said of ['', 'check_retain_source true\n'])
    it(`what a client may not publish any more is left out${said === '' ? ', without a word about it' : ''}`, () =>
      withConf(`${said}acl_file DIR/acl\nlistener PORT 127.0.0.1`, async (scene) => {
        await publishAll(scene);
        assert.deepEqual(await retainedNow(await client(scene, 'reader', 1, 'r1'), '#'), all);
        await rewrite(scene, withoutAda);
        assert.deepEqual(await retainedNow(await client(scene, 'reader', 1, 'r2'), '#'), ['own of bob', 't of bob']);
        assert.deepEqual(await retainedNow(await client(scene, 'reader', 1, 'r3'), 't/ada'), []);
        assert.equal(scene.broker.status().access.refused.denied, 0, 'nobody asked for anything that was refused');
        // It was left out, not deleted.
        await rewrite(scene, reads + writes);
        assert.deepEqual(await retainedNow(await client(scene, 'reader', 1, 'r4'), '#'), all);
      }));

  it('false: everything is delivered', () =>
    withConf('check_retain_source false\nacl_file DIR/acl\nlistener PORT 127.0.0.1', async (scene) => {
      await publishAll(scene);
      await rewrite(scene, withoutAda);
      assert.deepEqual(await retainedNow(await client(scene, 'reader'), '#'), all);
    }));

  it('changes while the broker runs', () =>
    withConf('acl_file DIR/acl\nlistener PORT 127.0.0.1', async (scene) => {
      await publishAll(scene);
      await rewrite(scene, withoutAda);
      for (const [index, on] of [true, false, true].entries()) {
        await scene.broker.replaceAccess({ authorization: { checkRetainedSource: on } });
        const seen = await retainedNow(await client(scene, 'reader', 1, `r${index}`), '#');
        assert.deepEqual(seen, on ? ['own of bob', 't of bob'] : all);
      }
    }));

  it('counts over a restart, for wills and delayed messages too', () =>
    withConf(
      'acl_file DIR/acl\npersistence true\npersistence_location DIR/\nlistener PORT 127.0.0.1',
      async (scene) => {
        await publishAll(scene);
        for (const username of ['ada', 'bob']) {
          const mourned = await scene.client(5);
          await mourned.connect({
            clientId: `will-${username}`,
            username,
            properties: { sessionExpiryInterval: 3600 },
            will: {
              topicName: `t/will/${username}`,
              payload: Buffer.from(`will of ${username}`),
              qos: 1,
              retain: true,
              properties: { willDelayInterval: 3600 },
            },
          });
          await mourned.deliver(`$delayed/2/t/later/${username}`, `later of ${username}`, retained);
          mourned.stream.destroy();
        }
        await scene.restart();
        await rewrite(scene, withoutAda);
        // The sessions end, and with them the delay of the wills.
        for (const username of ['ada', 'bob']) await client(scene, username, 1, `will-${username}`);
        while (scene.broker.delayedMessages().length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
        const seen = await retainedNow(await client(scene, 'reader', 1, 'r1'), '#');
        assert.deepEqual(seen, ['later of bob', 'own of bob', 't of bob', 'will of bob']);
        await rewrite(scene, reads + writes);
        const again = await retainedNow(await client(scene, 'reader', 1, 'r2'), '#');
        assert.deepEqual(again, [...all, 'later of ada', 'later of bob', 'will of ada', 'will of bob'].sort());
      },
    ));

  it('counts the access list of the listener that the message came by, in the names that its clients use', () =>
    withConf(
      [
        'per_listener_settings true',
        'listener PORT 127.0.0.1',
        'allow_anonymous true',
        'acl_file DIR/acl',
        'mount_point m/',
        'listener PORT2 127.0.0.1',
        'allow_anonymous true',
      ].join('\n'),
      async (scene) => {
        await publishAll(scene);
        const free = await client(scene, 'ada', 2);
        await free.deliver('m/t/free', 'by the other listener', retained);
        await rewrite(scene, withoutAda);
        const seen = await retainedNow(await client(scene, 'reader', 2), 'm/t/#');
        assert.deepEqual(seen, ['by the other listener', 't of bob']);
      },
    ));
});
