/** Goal: nothing but a clear yes of the program's policy lets anybody do anything, and what it throws harms nobody else. */
import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { WireClient } from '../../test/support/wire-client.js';
import type { Logger } from '../base/index.js';
import type { Policy } from '../policy/index.js';
import { type ProtocolVersion, ReasonCode } from '../protocol/index.js';
import type { Broker } from './broker-api.js';
import { createBroker } from './index.js';

/** What a program in JavaScript may answer, whatever the types say. */
type Loose = { [Name in keyof Policy]?: (...question: never[]) => unknown };

async function started(context: TestContext, policy: Loose) {
  const errors: string[] = [];
  const nothing = () => {};
  const error = (event: string, sentence: string) => errors.push(`${event}: ${sentence}`);
  const logger: Logger = { level: 1, error, warning: nothing, information: nothing, debug: nothing };
  const broker = createBroker({ config: { listeners: [] }, logger, policy: policy as unknown as Partial<Policy> });
  context.after(() => broker.stop());
  await broker.start();
  return { broker, errors };
}

async function connected(broker: Broker, clientId: string, version: ProtocolVersion = 5) {
  const [near, far] = duplexPair();
  broker.handle(far);
  const client = new WireClient(near, version);
  return { client, connack: await client.connect({ clientId }) };
}

/** Answers that are none, and a function that throws. */
const answers: [name: string, answer: () => unknown][] = [
  ['undefined', () => undefined],
  ['null', () => null],
  ['true', () => true],
  ['false', () => false],
  ['a text', () => 'yes'],
  ['NaN', () => Number.NaN],
  ['a number that is no code', () => 3],
  ['an empty object', () => ({})],
  ['a promise of undefined', async () => undefined],
  ['a promise of true', async () => true],
  [
    'an error',
    () => {
      throw new Error('gives up');
    },
  ],
  [
    'a rejection',
    async () => {
      throw new Error('gives up');
    },
  ],
];

describe('a policy of the program', () => {
  for (const [name, answer] of answers) {
    it(`lets nobody in, publish or subscribe with ${name}`, async (context) => {
      const asked = { authenticate: false, authorizePublish: false, authorizeSubscribe: false };
      const { broker, errors } = await started(context, {
        authenticate: () => (asked.authenticate ? answer() : { reasonCode: 0 }),
        authorizePublish: () => (asked.authorizePublish ? answer() : 0),
        authorizeSubscribe: () => (asked.authorizeSubscribe ? answer() : 0),
      });
      const { client } = await connected(broker, 'c');
      asked.authorizeSubscribe = true;
      assert.deepEqual(await client.subscribe('a'), [ReasonCode.NotAuthorized]);
      asked.authorizePublish = true;
      assert.equal(await client.deliver('a', 'x', { qos: 1 }), ReasonCode.NotAuthorized);
      asked.authenticate = true;
      await assert.rejects(connected(broker, 'd'), { message: /authentication is not available/ });
      assert.equal(errors.length, 3, errors.join('\n'));
      assert.equal(broker.clients().length, 1);
    });

    it(`lets nobody receive or unsubscribe with ${name}`, async (context) => {
      if (name === 'true' || name === 'false') return;
      const { broker, errors } = await started(context, {
        authorizeReceive: (client: { clientId: string }) => (client.clientId === 'c' ? answer() : true) as never,
        authorizeUnsubscribe: () => answer() as never,
      });
      const { client } = await connected(broker, 'c');
      const { client: other } = await connected(broker, 'other');
      const { client: publisher } = await connected(broker, 'publisher');
      for (const each of [client, other]) await each.subscribe(['a'], { qos: 1 });
      assert.equal(broker.publish('a', '0'), 0);
      assert.equal(await publisher.deliver('a', '1', { qos: 1 }), 0);
      publisher.send({ type: 3, dup: false, qos: 0, retain: false, topicName: 'a', payload: Buffer.from('2') });
      for (const payload of ['0', '1', '2']) assert.equal((await other.message()).payload.toString(), payload);
      assert.deepEqual(await client.unsubscribe('a'), [ReasonCode.NotAuthorized]);
      assert.ok(errors.length >= 2 && errors.every((line) => line.startsWith('policy.failed: ')), errors.join('\n'));
    });
  }

  it('may be an object of a class, and answer with something like a promise', async (context) => {
    class Rules {
      readonly allowed = 'a';
      authorizePublish(_client: unknown, topicName: string) {
        const code = topicName === this.allowed ? 0 : ReasonCode.NotAuthorized;
        // biome-ignore lint/suspicious/noThenProperty: what a library of queries may return
        return { then: (done: (code: number) => void) => done(code) };
      }
    }
    const { broker } = await started(context, new Rules() as unknown as Loose);
    const { client } = await connected(broker, 'c');
    assert.equal(await client.deliver('a', 'x', { qos: 1 }), ReasonCode.NoMatchingSubscribers);
    assert.equal(await client.deliver('b', 'x', { qos: 1 }), ReasonCode.NotAuthorized);
  });
});

describe('createBroker', () => {
  it('names options that it does not know, and what is no policy or logger', () => {
    const policy = { authenticate() {}, authorizePublish() {} };
    const wrong: [unknown, RegExp][] = [
      [null, /^createBroker: found null/],
      [{ listeners: [] }, /unknown option "listeners"; there are config, logger, policy/],
      [{ logger: console }, /logger: found an object, allowed is an object with level and error, warning/],
      [{ logger: null }, /logger: found null/],
      [{ policy: () => true }, /policy: found a function/],
      [{ policy: { authenticate: true } }, /policy\.authenticate: found a value of type boolean/],
      [
        { policy: { authorisePublish() {} } },
        /^policy: nobody asks "authorisePublish"; did you mean authorizePublish\?$/,
      ],
      [{ policy: { authorizePublsh: () => 135 } }, /did you mean authorizePublish/],
      [{ policy: { authorize() {} } }, /did you mean authorizePublish/],
      [{ policy: { authoriseEverything() {} } }, /there are authenticate, beginExchange/],
      [{ policy: { ...policy, authorizeUnsubscribed() {} } }, /did you mean authorizeUnsubscribe/],
      [{ policy: { denyAction: 'kick' } }, /policy\.denyAction: found "kick", allowed is ignore or disconnect/],
    ];
    for (const [options, message] of wrong)
      assert.throws(() => createBroker(options as never), { code: 'OPTIONS_INVALID', message });
  });

  it('lets a policy have helpers, and warns of a name in a class that is close to one it does not have', () => {
    const warnings: string[] = [];
    const nothing = () => {};
    const warning = (event: string, sentence: string) => warnings.push(`${event}: ${sentence}`);
    const logger: Logger = { level: 2, error: nothing, warning, information: nothing, debug: nothing };
    class Rules {
      readonly authorized = new Set<string>();
      authorizePublish = () => this.authorize();
      authorizeSubscribe() {
        return this.authorize();
      }
      authorize() {
        return 0;
      }
      authorizeTopic() {}
      close() {}
      get authorizeRecieve() {
        return assert.fail('nothing of the program is called');
      }
    }
    class Misspelt extends Rules {
      authoriseUnsubscribe() {}
    }
    const plain = { authenticate() {}, authenticated() {}, find() {}, users: new Map() };
    for (const policy of [plain, new Rules(), new Misspelt()])
      createBroker({ config: { listeners: [] }, logger, policy: policy as never });
    assert.deepEqual(warnings, [
      'policy.name-unknown: policy: nobody asks "authoriseUnsubscribe"; did you mean authorizeUnsubscribe?',
    ]);
  });
});
