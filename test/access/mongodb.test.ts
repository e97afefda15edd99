/**
 * Users and rules in MongoDB, spoken to by the real driver over a socket: the server is a small one of this test that knows the wire
 * protocol (OP_MSG, and OP_QUERY for the greeting) and finds documents by equality, since no real one can be installed everywhere.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { BSON } from 'mongodb';
import { hashPassword } from '../../src/policy/index.js';
import { badLogin, login, loginCode, notAuthorized, ok, serverUnavailable, sourceOf, withBroker } from './login.js';

type Document = Record<string, unknown>;

const OP_MSG = 2013;
const OP_QUERY = 2004;
const OP_REPLY = 1;

class SmallMongo {
  readonly collections: Record<string, Document[]> = {};
  readonly filters: Document[] = [];
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();
  port = 0;

  async start(): Promise<void> {
    this.server = createServer((socket) => this.accept(socket)).listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as { port: number }).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    const closed = once(this.server!, 'close');
    this.server!.close();
    await closed;
  }

  private accept(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket)).on('error', () => {});
    let pending = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 4 && pending.length >= pending.readInt32LE(0)) {
        const length = pending.readInt32LE(0);
        const message = pending.subarray(0, length);
        pending = pending.subarray(length);
        socket.write(this.reply(message));
      }
    });
  }

  private reply(message: Buffer): Buffer {
    const requestId = message.readInt32LE(4);
    const kind = message.readInt32LE(12);
    if (kind === OP_QUERY) {
      const nameEnd = message.indexOf(0, 20);
      const body = BSON.serialize(this.answer(BSON.deserialize(message.subarray(nameEnd + 9))));
      const fields = Buffer.alloc(20);
      fields.writeInt32LE(8, 0);
      fields.writeInt32LE(1, 16);
      return framed(OP_REPLY, requestId, Buffer.concat([fields, body]));
    }
    assert.equal(kind, OP_MSG);
    const body = BSON.serialize(this.answer(BSON.deserialize(message.subarray(21))));
    return framed(OP_MSG, requestId, Buffer.concat([Buffer.alloc(5), body]));
  }

  private answer(command: Document): Document {
    if (command.hello !== undefined || command.ismaster !== undefined || command.isMaster !== undefined)
      return {
        ok: 1,
        isWritablePrimary: true,
        ismaster: true,
        helloOk: true,
        minWireVersion: 0,
        maxWireVersion: 21,
        maxBsonObjectSize: 16_777_216,
        maxMessageSizeBytes: 48_000_000,
        maxWriteBatchSize: 100_000,
        localTime: new Date(),
        connectionId: 1,
        readOnly: false,
      };
    if (typeof command.find !== 'string') return { ok: 1 };
    const filter = command.filter as Document;
    this.filters.push(filter);
    const found = (this.collections[command.find] ?? []).filter((document) =>
      Object.entries(filter).every(([key, value]) => document[key] === value),
    );
    return { ok: 1, cursor: { id: BSON.Long.fromNumber(0), ns: `mqtt.${command.find}`, firstBatch: found } };
  }
}

function framed(kind: number, responseTo: number, body: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(16 + body.length, 0);
  header.writeInt32LE(1, 4);
  header.writeInt32LE(responseTo, 8);
  header.writeInt32LE(kind, 12);
  return Buffer.concat([header, body]);
}

describe('MongoDB', () => {
  const mongo = new SmallMongo();
  before(async () => {
    mongo.collections.user = [
      { username: 'ada', tenant: 7, password_hash: await hashPassword('one'), roles: ['a'] },
      { username: 'root', tenant: 7, password_hash: await hashPassword('two', 'sha512'), is_superuser: true },
      { username: 'off', tenant: 7, password_hash: await hashPassword('one', 'sha512'), enabled: false },
      { username: 'old', tenant: 8, password_hash: await hashPassword('one', 'sha512') },
    ];
    mongo.collections.acl = [
      { username: 'ada', permission: 'deny', action: 'publish', topics: ['up/secret', 'up/other'] },
      { username: 'ada', permission: 'allow', action: 'publish', topics: ['up/#'], qos: [0, 1], retain: false },
      { username: 'ada', action: 'subscribe', topic: 'down/${clientid}' },
    ];
    await mongo.start();
  });
  after(() => mongo.stop());
  const source = () =>
    ({
      type: 'mongodb',
      url: `mongodb://127.0.0.1:${mongo.port}/?directConnection=true`,
      collection: 'user',
      filter: '{"username": "${username}", "tenant": 7}',
      timeoutMs: 2000,
    }) as const;

  it('tells users from others', async () => {
    await withBroker({ authentication: [source()] }, async (scene) => {
      for (const [username, password, expected] of [
        ['ada', 'one', ok],
        ['ada', 'two', badLogin],
        ['root', 'two', ok],
        ['off', 'one', badLogin],
        ['old', 'one', badLogin],
        ['{"$ne": ""}', 'one', badLogin],
      ] as const)
        assert.equal(await loginCode(scene, username, password), expected, username);
      assert.deepEqual(mongo.filters.at(-1), { username: '{"$ne": ""}', tenant: 7 }, 'a value stays a value');
    });
  });

  it('has rules by user', async () => {
    const acl = { ...source(), collection: 'acl', filter: '{"username": "${username}"}' };
    await withBroker({ authentication: [source()], authorization: { sources: [acl] } }, async (scene) => {
      const { client } = await login(scene, 'ada', 'one', { clientId: 'dev1' });
      assert.equal(await client.deliver('up/x', 'm', { qos: 1 }), 0x10);
      assert.equal(await client.deliver('up/secret', 'm', { qos: 1 }), notAuthorized);
      assert.equal(await client.deliver('up/x', 'm', { qos: 1, retain: true }), notAuthorized);
      assert.deepEqual(await client.subscribe(['down/dev1', 'down/+'], { qos: 1 }), [1, 0x87]);
    });
  });

  it('refuses everybody while it is away', async () => {
    const lone = { ...source(), cacheSeconds: 0, timeoutMs: 500 };
    await withBroker({ authentication: [lone] }, async (scene) => {
      assert.equal(await loginCode(scene, 'ada', 'one'), ok);
      await mongo.stop();
      assert.equal(await loginCode(scene, 'ada', 'one'), serverUnavailable);
      assert.equal(sourceOf(scene.broker, 'mongodb').state, 'failing');
      await mongo.start();
      const deadline = Date.now() + 60_000;
      while ((await loginCode(scene, 'ada', 'one')) !== ok && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(sourceOf(scene.broker, 'mongodb').state, 'connected');
    });
  });
});
