/**
 * Goal: a retained message goes to new subscriptions only while whoever published it may still publish it, where that is to be checked.
 *
 * Method: rights change between the publish and the subscription: in an access list, in roles, in a policy of the program.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { BrokerOptions } from '../../src/index.js';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { MosquittoScene } from '../support/mosquitto-scene.js';
import { Scene } from '../support/scene.js';
import type { WireClient } from '../support/wire-client.js';

/** The payloads that a new subscription gets at once. */
async function found(client: WireClient, topicFilter = 't/#'): Promise<string[]> {
  await client.subscribe(topicFilter);
  client.send({ type: PacketType.Pingreq });
  const payloads: string[] = [];
  for (;;) {
    const { packet } = await client.next();
    if (packet.type === PacketType.Pingresp) return payloads.sort();
    if (packet.type === PacketType.Publish) payloads.push(Buffer.from(packet.payload).toString());
  }
}

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
        assert.deepEqual(await found(await client(scene, 'reader', 1, 'r1'), '#'), all);
        await rewrite(scene, withoutAda);
        assert.deepEqual(await found(await client(scene, 'reader', 1, 'r2'), '#'), ['own of bob', 't of bob']);
        assert.deepEqual(await found(await client(scene, 'reader', 1, 'r3'), 't/ada'), []);
        assert.equal(scene.broker.status().access.refused.denied, 0, 'nobody asked for anything that was refused');
        // It was left out, not deleted.
        await rewrite(scene, reads + writes);
        assert.deepEqual(await found(await client(scene, 'reader', 1, 'r4'), '#'), all);
      }));

  it('false: everything is delivered', () =>
    withConf('check_retain_source false\nacl_file DIR/acl\nlistener PORT 127.0.0.1', async (scene) => {
      await publishAll(scene);
      await rewrite(scene, withoutAda);
      assert.deepEqual(await found(await client(scene, 'reader'), '#'), all);
    }));

  it('changes while the broker runs', () =>
    withConf('acl_file DIR/acl\nlistener PORT 127.0.0.1', async (scene) => {
      await publishAll(scene);
      await rewrite(scene, withoutAda);
      for (const [index, on] of [true, false, true].entries()) {
        scene.broker.protect({ authorization: { checkRetainedSource: on } });
        const seen = await found(await client(scene, 'reader', 1, `r${index}`), '#');
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
        const seen = await found(await client(scene, 'reader', 1, 'r1'), '#');
        assert.deepEqual(seen, ['later of bob', 'own of bob', 't of bob', 'will of bob']);
        await rewrite(scene, reads + writes);
        const again = await found(await client(scene, 'reader', 1, 'r2'), '#');
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
        const seen = await found(await client(scene, 'reader', 2), 'm/t/#');
        assert.deepEqual(seen, ['by the other listener', 't of bob']);
      },
    ));
});

describe('authorization.checkRetainedSource', () => {
  async function withScene(options: BrokerOptions, test: (scene: Scene) => Promise<void>): Promise<void> {
    const scene = new Scene(5, options);
    try {
      await scene.start();
      await test(scene);
    } finally {
      await scene.stop();
    }
  }

  const check = { checkRetainedSource: true };

  it('knows the roles that a user has now', () => {
    const scene = {
      listeners: [{ name: 'test', port: 0 }],
      users: [
        { username: 'ada', password: 'a', roles: ['writer'] },
        { username: 'root', password: 'r', superuser: true },
        { username: 'reader', password: 'r', roles: ['reader'] },
      ],
      roles: [
        { name: 'writer', rules: [{ permit: 'allow', action: 'publish', filters: ['t/#'] }] },
        { name: 'reader', rules: [{ permit: 'allow', action: 'subscribe', filters: ['#'] }] },
      ],
      authorization: { ...check, sources: [{ type: 'roles' }] },
    };
    return withScene({ config: scene as object }, async ({ broker, connect }) => {
      const ada = await connect({ clientId: 'ada', username: 'ada', password: 'a' });
      await ada.deliver('t/a', 'of ada', retained);
      const root = await connect({ clientId: 'root', username: 'root', password: 'r' });
      await root.deliver('t/r', 'of root', retained);
      broker.publish('t/p', 'of the program', { retain: true });
      const reader = async () => found(await connect({ username: 'reader', password: 'r' }));
      assert.deepEqual(await reader(), ['of ada', 'of root', 'of the program']);
      const { users } = (broker as unknown as { access: { users: UsersAsTested } }).access;
      users.setAll([
        { username: 'ada', password: 'a' },
        { username: 'root', password: 'r' },
        { username: 'reader', password: 'r', roles: ['reader'] },
      ]);
      assert.deepEqual(await reader(), ['of the program']);
    });
  });

  interface UsersAsTested {
    setAll(users: readonly { username: string; password: string; roles?: string[] }[]): void;
  }

  /** A broker whose policy answers about `of-ada` in its own time. */
  function slowPolicy() {
    const waiting: ((reasonCode: number | Error) => void)[] = [];
    let asked: () => void = () => {};
    return {
      waiting,
      slow: false,
      nextQuestion(): Promise<void> {
        return waiting.length > 0 ? Promise.resolve() : new Promise((resolve) => (asked = resolve));
      },
      authorizePublish(client: { clientId: string }): never {
        if (!this.slow || client.clientId !== 'of-ada') return ReasonCode.Success as never;
        return new Promise((resolve, reject) => {
          waiting.push((answer) => (typeof answer === 'number' ? resolve(answer) : reject(answer)));
          asked();
        }) as never;
      },
    };
  }

  it('waits for an answer that takes its time, and nothing else waits', () => {
    const policy = slowPolicy();
    return withScene({ config: { authorization: check } as object, policy }, async ({ broker, connect }) => {
      const ada = await connect({ clientId: 'of-ada' });
      for (const name of ['1', '2', '3', '4', '5']) await ada.deliver(`t/${name}`, `of ada ${name}`, retained);
      const bob = await connect({ clientId: 'of-bob' });
      await bob.deliver('t/6', 'of bob', retained);
      policy.slow = true;
      const reader = await connect({ clientId: 'reader' });
      await reader.subscribe(['t/#', 'live/#'], { qos: 1 });
      await policy.nextQuestion();
      await bob.deliver('live/1', 'live', { qos: 1 });
      assert.equal((await reader.message()).payload, 'live');

      const answers: (readonly [number | Error, (() => void)?])[] = [
        [ReasonCode.Success],
        [ReasonCode.NotAuthorized],
        [new Error('no answer')],
        // What is there when the answer comes is what counts.
        [ReasonCode.Success, () => broker.publish('t/4', '', { retain: true, qos: 1 })],
        [ReasonCode.Success, () => broker.publish('t/5', 'newer', { retain: true, qos: 1 })],
      ];
      for (const [answer, before] of answers) {
        await policy.nextQuestion();
        before?.();
        policy.waiting.shift()!(answer);
      }
      const seen: string[] = [];
      while (!seen.includes('of bob')) {
        const { payload, packetId, retain } = await reader.message();
        if (packetId > 0) reader.puback(packetId);
        seen.push(`${payload}${retain ? '' : ' live'}`);
      }
      assert.deepEqual(seen, ['of ada 1', ' live', 'newer live', 'of bob']);
    });
  });

  it('asks for nobody who is gone when the answer comes', () => {
    const policy = slowPolicy();
    return withScene({ config: { authorization: check } as object, policy }, async ({ connect, drop }) => {
      const ada = await connect({ clientId: 'of-ada' });
      await ada.deliver('t/1', 'of ada', retained);
      policy.slow = true;
      const reader = await connect({ clientId: 'reader', properties: { sessionExpiryInterval: 3600 } });
      await reader.subscribe('t/#', { qos: 1 });
      await policy.nextQuestion();
      await drop(reader);
      policy.waiting.shift()!(ReasonCode.Success);
      const again = await connect({
        clientId: 'reader',
        cleanStart: false,
        properties: { sessionExpiryInterval: 3600 },
      });
      await again.quiet();
    });
  });

  it('goes over many that are left out, and does not send them', () => {
    const config = {
      authorization: { ...check, sources: [{ type: 'rules', rules: [{ permit: 'allow', filters: ['#'] }] }] },
    };
    let allowed = true;
    const policy = {
      authorizePublish: (({ clientId }: { clientId: string }) =>
        clientId !== 'of-ada' || allowed ? ReasonCode.Success : ReasonCode.NotAuthorized) as never,
    };
    return withScene({ config: config as object, policy }, async ({ connect }) => {
      const ada = await connect({ clientId: 'of-ada' });
      const bob = await connect({ clientId: 'of-bob' });
      for (let number = 0; number < 1000; number++) ada.publish(`t/${number}`, 'of ada', { retain: true });
      await ada.quiet();
      await bob.deliver('t/last', 'of bob', retained);
      allowed = false;
      const reader = await connect();
      await reader.subscribe('t/#');
      assert.equal((await reader.message()).payload, 'of bob');
      await reader.quiet();
    });
  });

  it('asks about nothing in a folder from before there were sources', () => {
    const folder = mkdtempSync(join(tmpdir(), 'dunlin-retained-source-'));
    cpSync(join(process.cwd(), 'test/formats/format-1'), folder, { recursive: true });
    const config = {
      storage: { mode: 'buffered', path: folder },
      limits: { sessionExpirySecondsMax: 4_294_967_295 },
      listeners: [{ name: 'test', port: 0, allowAnonymous: true }],
      authorization: {
        ...check,
        sources: [{ type: 'rules', rules: [{ permit: 'allow', action: 'subscribe', filters: ['#'] }] }],
      },
    };
    return withScene({ config: config as object }, async ({ connect }) => {
      assert.equal((await found(await connect(), 'plant/#')).length, 6);
    }).finally(() => rmSync(folder, { recursive: true }));
  });
});
