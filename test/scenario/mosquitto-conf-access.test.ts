/** Goal: password files, access lists and their plugins in a mosquitto.conf do to clients what they do there. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hashPassword } from '../../src/policy/index.js';
import type { ProtocolVersion } from '../../src/protocol/index.js';
import { MosquittoScene } from '../support/mosquitto-scene.js';

async function withFiles(text: string, test: (scene: MosquittoScene) => Promise<void>): Promise<void> {
  const scene = new MosquittoScene();
  try {
    scene.file('passwd', `ada:${await hashPassword('one', 'sha512-pbkdf2', 10)}\n`);
    scene.file('passwd2', `bob:${await hashPassword('two', 'sha512-pbkdf2', 10)}\n`);
    scene.file('acl', 'topic read open/#\nuser ada\ntopic ada/#\npattern write from/%c\n');
    scene.file('patterns', 'pattern readwrite of/%u/#\n');
    await scene.start(text);
    await test(scene);
  } finally {
    await scene.stop();
  }
}

/** The reason code of CONNACK in 5.0, the return code in 3.1.1. */
async function code(
  scene: MosquittoScene,
  number: number,
  username?: string,
  password?: string,
  version: ProtocolVersion = 5,
): Promise<number> {
  const client = await scene.client(version, number);
  client.sendConnect({
    clientId: `${username}-${number}`,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  });
  const { packet } = await client.next();
  client.stream.destroy();
  return 'reasonCode' in packet ? packet.reasonCode : -1;
}

describe('who may connect by a mosquitto.conf', () => {
  it('nobody, where nothing says who', () =>
    withFiles('listener PORT 127.0.0.1\n', async (scene) => {
      assert.equal(await code(scene, 1), 0x87);
      assert.equal(await code(scene, 1, 'ada', 'one'), 0x86);
      assert.equal(await code(scene, 1, undefined, undefined, 4), 5);
    }));

  it('everybody with allow_anonymous, whatever name they give', () =>
    withFiles('listener PORT 127.0.0.1\nallow_anonymous true\n', async (scene) => {
      assert.equal(await code(scene, 1), 0);
      assert.equal(await code(scene, 1, 'ada', 'wrong'), 0);
    }));

  it('the users of password_file', () =>
    withFiles(
      'password_file DIR/passwd\nlistener PORT 127.0.0.1\nlistener PORT2 127.0.0.1\nlistener_allow_anonymous true\n',
      async (scene) => {
        for (const number of [1, 2]) {
          assert.equal(await code(scene, number, 'ada', 'one'), 0);
          assert.equal(await code(scene, number, 'ada', 'two'), 0x86);
          assert.equal(await code(scene, number, 'bob', 'two'), 0x86);
        }
        assert.equal(await code(scene, 1), 0x87);
        assert.equal(await code(scene, 2), 0);
      },
    ));

  it('those of each listener with per_listener_settings', () =>
    withFiles(
      [
        'per_listener_settings true',
        'listener PORT 127.0.0.1',
        'password_file DIR/passwd',
        'listener PORT2 127.0.0.1',
        'plugin /x/mosquitto_password_file.so',
        'plugin_opt_password_file DIR/passwd2',
        'listener PORT3 127.0.0.1',
        'allow_anonymous true',
        'listener PORT4 127.0.0.1',
      ].join('\n'),
      async (scene) => {
        const codes = async (username?: string, password?: string) =>
          Promise.all([1, 2, 3, 4].map((number) => code(scene, number, username, password)));
        assert.deepEqual(await codes('ada', 'one'), [0, 0x86, 0, 0x86]);
        assert.deepEqual(await codes('bob', 'two'), [0x86, 0, 0, 0x86]);
        assert.deepEqual(await codes(), [0x87, 0x87, 0, 0x87]);
      },
    ));
});

describe('what clients may do by a mosquitto.conf', () => {
  const open = 'allow_anonymous true\n';

  /** What a client sees of a publish and a subscription. */
  async function rights(scene: MosquittoScene, number: number, username: string | undefined, topicName: string) {
    const client = await scene.client(5, number);
    await client.connect({ clientId: 'c', ...(username === undefined ? {} : { username }) });
    const [granted] = await client.subscribe(topicName);
    client.publish(topicName, 'x', { qos: 1 });
    let published = -1;
    for (;;) {
      const { packet } = await client.next();
      if (!('reasonCode' in packet) || !('packetId' in packet)) continue;
      published = packet.reasonCode;
      break;
    }
    client.stream.destroy();
    return `${granted! < 3 ? 'r' : '-'}${published < 0x80 ? 'w' : '-'}`;
  }

  it('acl_file', () =>
    withFiles(`${open}acl_file DIR/acl\nlistener PORT 127.0.0.1\n`, async (scene) => {
      assert.equal(await rights(scene, 1, undefined, 'open/a'), 'r-');
      assert.equal(await rights(scene, 1, undefined, 'ada/a'), '--');
      assert.equal(await rights(scene, 1, 'ada', 'ada/a'), 'rw');
      assert.equal(await rights(scene, 1, 'bob', 'from/c'), '-w');
      assert.equal(await rights(scene, 1, 'bob', 'from/d'), '--');
    }));

  it('acl_file of one listener, none of another', () =>
    withFiles(
      `per_listener_settings true\nlistener PORT 127.0.0.1\n${open}acl_file DIR/acl\nlistener PORT2 127.0.0.1\n${open}`,
      async (scene) => {
        assert.equal(await rights(scene, 1, undefined, 'ada/a'), '--');
        assert.equal(await rights(scene, 2, undefined, 'ada/a'), 'rw');
        assert.equal(await rights(scene, 2, undefined, '$SYS/broker/x'), 'r-');
      },
    ));

  it('an access list by its plugin, for the listener that uses it', () =>
    withFiles(
      `${open}plugin_load acl /x/mosquitto_acl_file.so\nplugin_opt_acl_file DIR/acl\nlistener PORT 127.0.0.1\nplugin_use acl\nlistener PORT2 127.0.0.1\n`,
      async (scene) => {
        assert.equal(await rights(scene, 1, undefined, 'ada/a'), '--');
        assert.equal(await rights(scene, 2, undefined, 'ada/a'), 'rw');
      },
    ));

  for (const set of [true, false])
    it(`auth_plugin_deny_special_chars ${set}: no pattern of an access list is for a name with + or #`, () =>
      withFiles(
        `${open}auth_plugin /x/mosquitto_acl_file.so\nauth_opt_acl_file DIR/patterns\nauth_plugin_deny_special_chars ${set}\nlistener PORT 127.0.0.1\n`,
        async (scene) => {
          assert.equal(await rights(scene, 1, 'bob', 'of/bob/x'), 'rw');
          assert.equal(await rights(scene, 1, '+', 'of/bob/x'), '--');
          assert.equal(await rights(scene, 1, '#', 'of/bob/x'), '--');
        },
      ));

  it('auth_opt_ and global_plugin are other words', () =>
    withFiles(
      `${open}auth_plugin /x/mosquitto_acl_file.so\nauth_opt_acl_file DIR/acl\nauth_plugin_deny_special_chars true\nglobal_plugin /x/mosquitto_password_file.so\nplugin_opt_password_file DIR/passwd\nlistener PORT 127.0.0.1\n`,
      async (scene) => {
        assert.equal(await code(scene, 1, 'bob', 'x'), 0x86);
        assert.equal(await rights(scene, 1, undefined, 'open/a'), 'r-');
      },
    ));
});
