/**
 * Goal: a retained message goes to new subscriptions only while whoever published it may still publish it, where that is to be checked.
 *
 * Method: rights change between the publish and the subscription, in roles or in a policy of the program; access lists of a mosquitto.conf
 * are in `mosquitto-conf-retained.test.ts`.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { BrokerOptions } from '../../src/index.js';
import { ReasonCode } from '../../src/protocol/index.js';
import { at, Brokers, Watch } from '../support/bridge-scene.js';
import { retainedNow } from '../support/retained-now.js';
import { Scene } from '../support/scene.js';

const retained = { qos: 1, retain: true } as const;

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
        { name: 'writer', entries: [{ type: 'publishClientSend', filter: 't/#', permit: 'allow' }] },
        { name: 'reader', entries: [{ type: 'subscribePattern', filter: '#', permit: 'allow' }] },
      ],
      authorization: { ...check, sources: [{ type: 'roles' }] },
    };
    return withScene({ config: scene as object }, async ({ broker, connect }) => {
      const ada = await connect({ clientId: 'ada', username: 'ada', password: 'a' });
      await ada.deliver('t/a', 'of ada', retained);
      const root = await connect({ clientId: 'root', username: 'root', password: 'r' });
      await root.deliver('t/r', 'of root', retained);
      broker.publish('t/p', 'of the program', { retain: true });
      const reader = async () => retainedNow(await connect({ username: 'reader', password: 'r' }));
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

  it('does nothing with an answer about a subscription that has ended', () => {
    const policy = slowPolicy();
    return withScene({ config: { authorization: check } as object, policy }, async ({ connect }) => {
      const ada = await connect({ clientId: 'of-ada' });
      await ada.deliver('t/1', 'of ada', retained);
      policy.slow = true;
      const reader = await connect({ clientId: 'reader' });
      await reader.subscribe('t/#', { qos: 1 });
      await policy.nextQuestion();
      await reader.unsubscribe('t/#');
      policy.waiting.shift()!(ReasonCode.Success);
      await reader.quiet();
    });
  });

  it('hands over what was asked about when a client is back that was gone when the answer came', () => {
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
      const back = { clientId: 'reader', cleanStart: false, properties: { sessionExpiryInterval: 3600 } };
      const again = await connect(back);
      assert.equal((await again.message()).payload, 'of ada');
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

  for (const slow of [false, true])
    it(`counts for what a bridge sends out, ${slow ? 'however long the answer takes' : 'answered at once'}`, async () => {
      const brokers = new Brokers();
      try {
        const remote = await brokers.start();
        const there = new Watch(remote, 't/#');
        const settle = <T>(value: T) => (slow ? new Promise<T>((resolve) => setImmediate(resolve, value)) : value);
        let allowed = true;
        const policy = {
          authorizePublish: (({ clientId }: { clientId: string }) =>
            settle(clientId !== 'of-ada' || allowed ? ReasonCode.Success : ReasonCode.NotAuthorized)) as never,
        };
        await withScene({ config: { authorization: check } as object, policy }, async ({ broker, connect }) => {
          for (const name of ['ada', 'bob']) {
            const publisher = await connect({ clientId: `of-${name}` });
            await publisher.deliver(`t/1/${name}`, `of ${name}`, retained);
            await publisher.deliver(`t/2/${name}`, `of ${name}`, retained);
          }
          allowed = false;
          broker.addBridge({
            name: 'b',
            remotes: at(remote),
            outgoingRetain: true,
            topics: [{ topic: 't/#', direction: 'out', qos: 1 }],
          });
          const seen = await there.take(2);
          broker.publish('t/end', 'end', { qos: 1 });
          seen.push(...(await there.take(1)));
          assert.deepEqual(seen.map(({ topicName }) => topicName).sort(), ['t/1/bob', 't/2/bob', 't/end']);
        });
      } finally {
        await brokers.stop();
      }
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
      assert.equal((await retainedNow(await connect(), 'plant/#')).length, 6);
    }).finally(() => rmSync(folder, { recursive: true }));
  });
});
