import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Client } from '../policy.js';
import type { Question } from '../sources/facts.js';
import { readyStatus, SourceUnavailable } from '../sources/guard.js';
import { AuthorizationChain } from './authorization-chain.js';
import type { Answer } from './rule.js';
import type { AuthorizationSource, BoundSource } from './source.js';

const client: Client = { clientId: 'c', username: 'u', protocolVersion: 5, listener: 'l', address: '127.0.0.1' };
const allow: Answer = { permit: true, origin: 'allowed' };
const deny: Answer = { permit: false, origin: 'denied' };

/** A source that answers what `answer` says, and counts. */
class Fake implements AuthorizationSource {
  readonly type = 'fake';
  readonly governsReceive = true;
  asked = 0;
  bound = 0;
  validUntilMs: number | undefined;

  constructor(
    readonly name: string,
    private readonly answer: (question: Question) => Answer | Promise<Answer>,
    private readonly peek?: BoundSource['peek'],
  ) {}

  bind(): BoundSource {
    this.bound++;
    const { validUntilMs, peek } = this;
    return {
      ask: (question) => {
        this.asked++;
        return this.answer(question);
      },
      ...(validUntilMs === undefined ? {} : { validUntilMs }),
      ...(peek === undefined ? {} : { peek }),
    };
  }

  status() {
    return readyStatus(this.name, this.type);
  }
}

const chainOf = (
  sources: Fake[],
  more: { noMatch?: 'allow' | 'deny'; cacheTopicsMax?: number; nowMs?: () => number } = {},
) =>
  new AuthorizationChain(sources, {
    noMatch: 'deny',
    cacheTopicsMax: 4,
    standingOf: () => ({ roles: [], groups: [] }),
    ...more,
  });

describe('a chain of authorization', () => {
  it('asks one source after the other until one decides', async () => {
    const first = new Fake('first', ({ topic }) => (topic === 'a' ? allow : undefined));
    const second = new Fake('second', async ({ topic }) => (topic === 'b' ? deny : undefined));
    const third = new Fake('third', ({ topic }) => (topic === 'c' ? allow : undefined));
    const chain = chainOf([first, second, third]);
    assert.equal(chain.publish(client, 'a', 0, false), 'allow');
    assert.equal(second.asked, 0);
    assert.equal(await chain.publish(client, 'b', 0, false), 'deny');
    assert.equal(third.asked, 0);
    assert.equal(await chain.publish(client, 'c', 0, false), 'allow');
    assert.equal(await chain.publish(client, 'd', 0, false), 'deny', 'no match');
    assert.equal(await chainOf([first, second], { noMatch: 'allow' }).publish(client, 'd', 0, false), 'allow');
    assert.equal(chain.denied, 2);
    assert.deepEqual((await chain.explain(client, { action: 'publish', topic: 'b', qos: 0, retain: false })).steps, [
      { source: 'first', type: 'fake', answer: 'next' },
      { source: 'second', type: 'fake', answer: 'deny', origin: 'denied' },
    ]);
  });

  it('keeps verdicts by topic, QoS and RETAIN, as many topics as it may', async () => {
    const source = new Fake('s', async ({ qos, retain }) => (qos === 0 && !retain ? allow : deny));
    const chain = chainOf([source]);
    assert.equal(await chain.publish(client, 't', 0, false), 'allow');
    assert.equal(chain.publish(client, 't', 0, false), 'allow', 'at once now');
    assert.equal(await chain.publish(client, 't', 1, false), 'deny');
    assert.equal(await chain.publish(client, 't', 0, true), 'deny');
    assert.equal(chain.publish(client, 't', 0, false), 'allow');
    assert.equal(chain.publish(client, 't', 1, false), 'deny');
    assert.equal(chain.publish(client, 't', 0, true), 'deny');
    assert.equal(source.asked, 3);
    for (const topic of ['a', 'b', 'c', 'd', 'e']) await chain.publish(client, topic, 0, false);
    const before = source.asked;
    await chain.publish(client, 't', 0, false);
    assert.equal(source.asked, before + 1, 'an old one has been forgotten');
    const none = chainOf([source], { cacheTopicsMax: 0 });
    await none.publish(client, 't', 0, false);
    assert.ok(none.publish(client, 't', 0, false) instanceof Promise);
  });

  it('forgets them when rules change, when their time is over, and with the client', async () => {
    const clock = { nowMs: 0 };
    const source = new Fake('s', async () => allow);
    source.validUntilMs = 100;
    const chain = chainOf([source], { nowMs: () => clock.nowMs });
    await chain.publish(client, 't', 0, false);
    clock.nowMs = 99;
    assert.equal(chain.publish(client, 't', 0, false), 'allow');
    clock.nowMs = 100;
    assert.ok(chain.publish(client, 't', 0, false) instanceof Promise);
    clock.nowMs = 0;
    await chain.publish(client, 'u', 0, false);
    chain.changed();
    assert.ok(chain.publish(client, 'u', 0, false) instanceof Promise);
    assert.equal(source.bound, 2);
    await chain.publish({ ...client }, 'u', 0, false);
    assert.equal(source.bound, 3);
  });

  it('refuses what a source gives no answer to, and keeps nothing of it', async () => {
    let down = true;
    const source = new Fake('s', async () => {
      if (down) throw new SourceUnavailable('down');
      return allow;
    });
    const chain = chainOf([source, new Fake('open', () => allow)]);
    assert.equal(await chain.publish(client, 't', 0, false), 'unavailable');
    assert.equal(await chain.subscribe(client, 't', 0), 'unavailable');
    assert.equal(chain.unavailable, 2);
    down = false;
    assert.equal(await chain.publish(client, 't', 0, false), 'allow');
  });

  it('lets deliveries pass unless something forbids them, and waits for nobody', async () => {
    const known = { unknown: true };
    const slow = new Fake(
      'slow',
      async () => deny,
      () => (known.unknown ? 'unknown' : deny),
    );
    const chain = chainOf([slow, new Fake('local', ({ topic }) => (topic === 'x' ? deny : undefined))]);
    assert.equal(chain.receive(client, 't'), true, 'nothing is known yet');
    assert.equal(chain.receive(client, 'x'), false);
    known.unknown = false;
    assert.equal(chain.receive(client, 't'), false, 'what was not certain was not kept');
    assert.equal(chain.receive(client, 't'), false);
    assert.equal(slow.asked, 0);
    const superuser = { ...client, identity: { superuser: true } as never };
    assert.equal(chain.receive(superuser, 'x'), true);
    assert.equal(chain.publish(superuser, 'x', 0, false), 'allow');
  });
});
