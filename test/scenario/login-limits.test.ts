/** Limits around the login: failures by enhanced authentication, bans in the middle of it, how long a connection lasts after it. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type BrokerOptions, type ConfigInput, createBroker } from '../../src/index.js';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { Scene } from '../support/scene.js';
import type { WireClient } from '../support/wire-client.js';

const BANNED = 0x8a;
const NOT_AUTHORIZED = 0x87;
const MAXIMUM_CONNECT_TIME = 0xa0;

async function withScene(options: BrokerOptions, run: (scene: Scene) => Promise<void>): Promise<void> {
  const scene = new Scene(5, options);
  await scene.start();
  try {
    await run(scene);
  } finally {
    await scene.stop();
  }
}

const method = { authenticationMethod: 'SCRAM-SHA-256' };

it('failed exchanges are counted and answered later and later, as other failed logins are', () =>
  withScene(
    {
      config: {
        users: [{ username: 'u', password: 'p' }],
        protection: { logins: { failuresMax: 1, delaySecondsMax: 1 } },
      },
    },
    async (scene) => {
      const since = performance.now();
      for (let index = 0; index < 4; index++) {
        const client = await scene.open();
        client.sendConnect({
          clientId: 'x',
          properties: { ...method, authenticationData: Buffer.from('n,,n=u,r=abc') },
        });
        const { properties } = await client.packet(PacketType.Auth);
        const nonce = /r=([^,]+)/.exec(properties!.authenticationData!.toString())![1];
        const last = Buffer.from(`c=biws,r=${nonce},p=${Buffer.alloc(32).toString('base64')}`);
        client.send({
          type: PacketType.Auth,
          reasonCode: ReasonCode.ContinueAuthentication,
          properties: { ...method, authenticationData: last },
        });
        await client.refused(NOT_AUTHORIZED);
      }
      const waited = performance.now() - since;
      assert.ok(waited >= 690, `${waited} ms for the waits of 100, 200 and 400 ms`);
      assert.equal(scene.broker.metrics.loginsFailed, 4);
    },
  ));

it('an answer that waits longer than a CONNECT may take is given all the same', () =>
  withScene(
    {
      config: {
        users: [{ username: 'u', password: 'p' }],
        limits: { connectTimeoutSeconds: 1 },
        protection: { logins: { failuresMax: 1, delaySecondsMax: 3 } },
      },
    },
    async (scene) => {
      for (let index = 0; index < 7; index++) {
        const client = await scene.open();
        client.sendConnect({ clientId: 'x', username: 'u', password: 'wrong' });
        await client.refused(0x86);
      }
    },
  ));

it('a ban that comes while a login is decided is answered with the code for it', async () => {
  let asked = () => {};
  const begun = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const authenticate = () => {
    asked();
    return new Promise<never>(() => {});
  };
  await withScene({ policy: { authenticate } }, async (scene) => {
    const client = await scene.open();
    client.sendConnect({ clientId: 'eve' });
    await begun;
    scene.broker.ban({ kind: 'clientId', value: 'eve' });
    await client.refused(BANNED);
  });
});

it('a verdict that does not come in time is answered for', () =>
  withScene(
    { config: { limits: { connectTimeoutSeconds: 1 } }, policy: { authenticate: () => new Promise<never>(() => {}) } },
    async (scene) => {
      const client = await scene.open();
      client.sendConnect({ clientId: 'x' });
      await client.refused(0x88);
    },
  ));

it('re-authentication does not make a connection last longer than it may', () =>
  withScene(
    {
      config: { protection: { connectionSecondsMax: 2 } },
      policy: {
        beginExchange: () => ({
          step: async () => ({
            outcome: 'success',
            data: undefined,
            username: 'u',
            identity: { username: 'u', expiresAtMs: Date.now() + 3_600_000 } as never,
          }),
        }),
      },
    },
    async (scene) => {
      const client = await scene.open();
      client.sendConnect({ clientId: 'x', properties: { authenticationMethod: 'any' } });
      assert.equal((await client.packet(PacketType.Connack)).reasonCode, 0);
      client.connected = true;
      client.send({
        type: PacketType.Auth,
        reasonCode: ReasonCode.ReAuthenticate,
        properties: { authenticationMethod: 'any' },
      });
      assert.equal((await client.packet(PacketType.Auth)).reasonCode, 0);
      await client.refused(MAXIMUM_CONNECT_TIME);
    },
  ));

it('an exchange that cannot be acted on ends its connection, and no other', () =>
  withScene(
    {
      policy: {
        beginExchange: () => ({
          step: async () => ({ outcome: 'success', data: undefined, username: 'u', identity: null as never }),
        }),
      },
    },
    async (scene) => {
      const other = await scene.connect();
      const client = await scene.open();
      client.sendConnect({ clientId: 'x', properties: { authenticationMethod: 'any' } });
      await client.refused(ReasonCode.UnspecifiedError);
      assert.deepEqual(await other.subscribe('t'), [0]);
    },
  ));

it('a shorter time for connections counts for those that are there', () =>
  withScene({}, async (scene) => {
    const client = await scene.connect();
    scene.broker.protect({ protection: { connectionSecondsMax: 1 } });
    await client.refused(MAXIMUM_CONNECT_TIME);
  }));

it('a user gets no further connection by taking over that of somebody else', () => {
  const users: ConfigInput['users'] = [
    { username: 'u', password: 'p' },
    { username: 'v', password: 'p' },
  ];
  return withScene({ config: { users, protection: { connectionsPerUserMax: 1 } } }, async (scene) => {
    const victim: WireClient = await scene.connect({ clientId: 'a', username: 'v', password: 'p' });
    await scene.connect({ clientId: 'b', username: 'u', password: 'p' });
    const thief = await scene.open();
    thief.sendConnect({ clientId: 'a', username: 'u', password: 'p' });
    await thief.refused(0x97);
    await victim.quiet();
  });
});

it('a will has no more levels than other topics', () =>
  withScene({ config: { limits: { topicLevelsMax: 2 } } }, async (scene) => {
    const will = { topicName: 'a/b/c', payload: Buffer.from('x'), qos: 0, retain: false } as const;
    const client = await scene.open();
    client.sendConnect({ clientId: 'x', will });
    await client.refused(0x90);
    await scene.connect({ clientId: 'x', will: { ...will, topicName: 'a/b' } });
  }));

it('names in settings that change are checked, and nothing changes when one is wrong', () => {
  const broker = createBroker();
  assert.throws(
    () => broker.protect({ bans: [{ kind: 'address', value: '10.0.0.0/99' }], rates: [{ outcome: 'drop' }] }),
    /bans\[0\]\.value[\s\S]*rates\[0\]/,
  );
  assert.deepEqual(broker.bans(), []);
});

for (const hours of [1, -1])
  it(`a wall clock that is set by ${hours} h neither ends connections nor stops time`, (t) =>
    withScene({ config: { limits: { connectTimeoutSeconds: 1 } } }, async (scene) => {
      const client = await scene.connect({ keepAlive: 30 });
      const real = Date.now;
      t.mock.method(Date, 'now', () => real() + hours * 3_600_000);
      await (await scene.open()).ended(); // it says nothing
      await client.quiet();
    }));
