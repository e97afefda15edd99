/** Rights and users that change while an answer about them is waited for. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Policy } from '../../src/index.js';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { Scene } from '../support/scene.js';
import { PATIENCE_MS } from '../support/wire-client.js';

/** A policy whose answers are given by hand. */
function byHand() {
  const asked: { readonly topic: string; readonly answer: (reasonCode: 0 | 0x87) => void }[] = [];
  const listeners = new Set<() => void>();
  const ask = <Code>(topic: string) =>
    new Promise<Code>((resolve) => asked.push({ topic, answer: (reasonCode) => resolve(reasonCode as Code) }));
  const policy: Partial<Policy> = {
    authorizePublish: (_, topicName) => ask(topicName),
    authorizeSubscribe: (_, topicFilter) => (topicFilter.startsWith('slow') ? ask(topicFilter) : (allowed as 0 | 0x87)),
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  let allowed: 0 | 0x87 = 0;
  return {
    policy,
    /** The questions that were asked, as many as there are to be. */
    async questions(count: number) {
      for (const patience = Date.now() + PATIENCE_MS; asked.length < count && Date.now() < patience; ) await turn();
      assert.equal(asked.length, count);
      return asked;
    },
    change(now: 0 | 0x87): void {
      allowed = now;
      for (const listener of listeners) listener();
    },
  };
}

async function withPolicy(
  work: (scene: Scene, hand: ReturnType<typeof byHand>) => Promise<void>,
  users: readonly { readonly username: string; readonly password: string }[] = [],
): Promise<void> {
  const hand = byHand();
  const scene = new Scene(5, {
    config: { listeners: [{ name: 'test', port: 0, allowAnonymous: users.length === 0 }], users },
    policy: hand.policy,
  });
  await scene.start();
  try {
    await work(scene, hand);
  } finally {
    await scene.stop();
  }
}

describe('while an answer is waited for', () => {
  it('a right to subscribe that ends is not granted with what was waited for', () =>
    withPolicy(async (scene, hand) => {
      const client = await scene.connect();
      client.sendSubscribe(['slow', 'quick']);
      const [slow] = await hand.questions(1);
      hand.change(0x87);
      slow!.answer(0);
      await client.packet(PacketType.Suback);
      (await hand.questions(2))[1]!.answer(0);
      await turn();
      for (const topicName of ['quick', 'slow']) scene.broker.publish(topicName, topicName);
      assert.equal((await client.message()).payload, 'slow', 'the other subscription has ended');
    }));

  it('an answer from before the last change takes nothing away', () =>
    withPolicy(async (scene, hand) => {
      const client = await scene.connect();
      client.sendSubscribe('slow');
      (await hand.questions(1))[0]!.answer(0);
      await client.packet(PacketType.Suback);
      hand.change(0);
      hand.change(0);
      const [, before, after] = await hand.questions(3);
      after!.answer(0);
      before!.answer(0x87);
      await turn();
      scene.broker.publish('slow', 'still here');
      assert.equal((await client.message()).payload, 'still here');
    }));

  it('a user who is removed does not come in with a will that was asked about', () =>
    withPolicy(
      async (scene, hand) => {
        const client = await scene.open(5);
        const will = { topicName: 'w', payload: Buffer.alloc(0), qos: 0 as const, retain: false };
        client.sendConnect({ clientId: 'c', username: 'ada', password: 'x', will });
        const [question] = await hand.questions(1);
        await scene.broker.replaceAccess({ users: [{ username: 'bob', password: 'x' }] });
        await turn();
        await turn();
        question!.answer(0);
        assert.equal((await client.packet(PacketType.Connack)).reasonCode, ReasonCode.NotAuthorized);
      },
      [{ username: 'ada', password: 'x' }],
    ));
});
