/** Goal: an embedding program that ends a publisher while it is handed its message does not get that message twice. */
import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { it } from 'node:test';
import { createBroker } from '../../src/index.js';
import { PacketType } from '../../src/protocol/index.js';
import { WireClient } from '../support/wire-client.js';

it('a QoS 2 message whose publisher is ended by who gets it comes once [MQTT-4.3.3-10]', async () => {
  const broker = createBroker({ config: { listeners: [] } });
  await broker.start();
  const seen: string[] = [];
  broker.subscribe('t', ({ payload }) => {
    seen.push(Buffer.from(payload).toString());
    broker.disconnect('c');
  });
  const connect = async () => {
    const [near, far] = duplexPair();
    broker.handle(far);
    const client = new WireClient(near, 5);
    await client.connect({ clientId: 'c', cleanStart: false, properties: { sessionExpiryInterval: 100 } });
    return client;
  };
  const first = await connect();
  first.publish('t', 'once', { qos: 2, packetId: 7 });
  assert.equal((await first.next()).packet.type, PacketType.Disconnect);
  const second = await connect();
  second.publish('t', 'once', { qos: 2, packetId: 7, dup: true });
  assert.equal((await second.next()).packet.type, PacketType.Pubrec);
  assert.deepEqual(seen, ['once']);
  await broker.stop();
});
