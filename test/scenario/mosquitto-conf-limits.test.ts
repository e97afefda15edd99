/** Goal: the directives of mosquitto.conf about limits and protocol do to clients what they do there. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PacketType } from '../../src/protocol/index.js';
import { withConf } from '../support/mosquitto-scene.js';

/** One listener that lets everybody in, and `rest`. */
const open = (rest: string) => `listener PORT 127.0.0.1\nallow_anonymous true\n${rest}\n`;
const kept = { clientId: 'kept', cleanStart: false, properties: { sessionExpiryInterval: 100 } };

describe('limits of a mosquitto.conf', () => {
  it('are those of Mosquitto 2.1 where the file is silent', () =>
    withConf(open(''), async (scene) => {
      const { properties } = await (await scene.client(5)).connect();
      assert.deepEqual(properties, { receiveMaximum: 20, maximumPacketSize: 2_000_000, topicAliasMaximum: 10 });
    }));

  it('max_packet_size', () =>
    withConf(open('max_packet_size 64'), async (scene) => {
      const client = await scene.client(5);
      const { properties } = await client.connect();
      assert.equal(properties!.maximumPacketSize, 64);
      assert.equal(await client.deliver('t', 'x'.repeat(40), { qos: 1 }), 0x10);
      client.publish('t', 'x'.repeat(80));
      await client.refused(0x95);
    }));

  it('message_size_limit', () =>
    withConf(open('message_size_limit 10'), async (scene) => {
      const subscriber = await scene.client(4);
      await subscriber.connect({ clientId: 'subscriber' });
      await subscriber.subscribe('t', { qos: 2 });
      const five = await scene.client(5);
      await five.connect({ clientId: 'five' });
      const old = await scene.client(4);
      await old.connect({ clientId: 'old' });
      assert.equal(await five.deliver('t', 'x'.repeat(11), { qos: 1 }), 0x83);
      assert.equal(await five.deliver('t', 'x'.repeat(11), { qos: 2 }), 0x83);
      await old.deliver('t', 'x'.repeat(11), { qos: 1 });
      await old.deliver('t', 'x'.repeat(11), { qos: 2 });
      await old.deliver('t', 'x'.repeat(11));
      await five.deliver('t', 'x'.repeat(10));
      assert.equal((await subscriber.message()).payload, 'x'.repeat(10));
      const willing = await scene.client(5);
      willing.sendConnect({
        clientId: 'willing',
        will: { topicName: 'w', payload: Buffer.alloc(11), qos: 0, retain: false },
      });
      await willing.refused(0x95);
    }));

  it('max_inflight_messages', () =>
    withConf(open('max_inflight_messages 2'), async (scene) => {
      const subscriber = await scene.client(4);
      await subscriber.connect({ clientId: 'subscriber' });
      await subscriber.subscribe('t', { qos: 1 });
      const publisher = await scene.client(5);
      assert.equal((await publisher.connect({ clientId: 'publisher' })).properties!.receiveMaximum, 2);
      for (const payload of ['a', 'b', 'c']) await publisher.deliver('t', payload, { qos: 1 });
      const first = await subscriber.message();
      assert.equal((await subscriber.message()).payload, 'b');
      await subscriber.quiet();
      subscriber.puback(first.packetId);
      assert.equal((await subscriber.message()).payload, 'c');
    }));

  it('max_inflight_bytes', () =>
    withConf(open('max_inflight_bytes 10'), async (scene) => {
      const publisher = await scene.client(5);
      await publisher.connect({ clientId: 'publisher' });
      for (const session of [{}, kept]) {
        const subscriber = await scene.client(5);
        await subscriber.connect({ clientId: 'subscriber', ...session });
        await subscriber.subscribe('t', { qos: 2 });
        await publisher.deliver('t', 'larger than the limit', { qos: 1 });
        await publisher.deliver('t', 'four', { qos: 1 });
        await publisher.deliver('t', 'five5', { qos: 1 });
        await publisher.deliver('t', 'sixsix', { qos: 2 });
        await publisher.deliver('t', 'end', { qos: 1 });
        const one = await subscriber.message();
        assert.equal(one.payload, 'larger than the limit');
        await subscriber.quiet();
        subscriber.puback(one.packetId);
        // 4 and then 9 bytes are below the limit, so one more may follow.
        const two = await subscriber.message();
        const three = await subscriber.message();
        const four = await subscriber.message();
        assert.deepEqual([two.payload, three.payload, four.payload], ['four', 'five5', 'sixsix']);
        await subscriber.quiet();
        subscriber.puback(two.packetId);
        await subscriber.quiet();
        subscriber.puback(three.packetId);
        const five = await subscriber.message();
        assert.equal(five.payload, 'end');
        subscriber.puback(five.packetId);
        subscriber.pubrec(four.packetId);
        await subscriber.packet(PacketType.Pubrel);
        subscriber.pubcomp(four.packetId);
        await subscriber.unsubscribe('t');
        subscriber.stream.destroy();
      }
    }));

  it('max_queued_messages drops what is new', () =>
    withConf(open('max_queued_messages 2\nmax_inflight_messages 1'), async (scene) => {
      const subscriber = await scene.client(4);
      await subscriber.connect({ clientId: 'kept', cleanStart: false });
      await subscriber.subscribe('t', { qos: 1 });
      subscriber.send({ type: PacketType.Disconnect, reasonCode: 0 });
      await subscriber.ended();
      const publisher = await scene.client(4);
      await publisher.connect({ clientId: 'publisher' });
      for (const payload of ['a', 'b', 'c', 'd']) await publisher.deliver('t', payload, { qos: 1 });
      const again = await scene.client(4);
      assert.equal((await again.connect({ clientId: 'kept', cleanStart: false })).sessionPresent, true);
      const payloads: string[] = [];
      for (let i = 0; i < 2; i++) {
        const message = await again.message();
        payloads.push(message.payload);
        again.puback(message.packetId);
      }
      await again.quiet();
      assert.deepEqual(payloads, ['a', 'b']);
    }));

  it('max_queued_bytes', () =>
    withConf(open('max_queued_bytes 2000'), async (scene) => {
      const subscriber = await scene.client(5);
      await subscriber.connect(kept);
      await subscriber.subscribe('t', { qos: 1 });
      subscriber.stream.destroy();
      const publisher = await scene.client(5);
      await publisher.connect({ clientId: 'publisher' });
      for (let i = 0; i < 5; i++) await publisher.deliver('t', String(i).repeat(900), { qos: 1 });
      const again = await scene.client(5);
      await again.connect(kept);
      assert.equal((await again.message()).payload[0], '0');
      assert.equal((await again.message()).payload[0], '1');
      await again.quiet();
    }));

  for (const [value, expected] of [
    ['true', ['zero', 'one']],
    ['false', ['one']],
  ] as const)
    it(`queue_qos0_messages ${value}`, () =>
      withConf(open(`queue_qos0_messages ${value}`), async (scene) => {
        const subscriber = await scene.client(4);
        await subscriber.connect({ clientId: 'kept', cleanStart: false });
        await subscriber.subscribe('t', { qos: 1 });
        subscriber.send({ type: PacketType.Disconnect, reasonCode: 0 });
        await subscriber.ended();
        const publisher = await scene.client(4);
        await publisher.connect({ clientId: 'publisher' });
        await publisher.deliver('t', 'zero');
        await publisher.deliver('t', 'one', { qos: 1 });
        const again = await scene.client(4);
        await again.connect({ clientId: 'kept', cleanStart: false });
        for (const payload of expected) assert.equal((await again.message()).payload, payload);
        await again.quiet();
      }));

  it('max_keepalive', () =>
    withConf(open('max_keepalive 30'), async (scene) => {
      const five = await scene.client(5);
      assert.equal((await five.connect({ clientId: 'five', keepAlive: 60 })).properties!.serverKeepAlive, 30);
      const short = await scene.client(4);
      await short.connect({ clientId: 'short', keepAlive: 30 });
      for (const keepAlive of [0, 31]) {
        const long = await scene.client(4);
        long.sendConnect({ clientId: 'long', keepAlive });
        await long.refused(0x85, 2);
      }
    }));

  it('global_max_clients', () =>
    withConf(open('global_max_clients 1'), async (scene) => {
      const first = await scene.client(4);
      await first.connect({ clientId: 'kept', cleanStart: false });
      first.send({ type: PacketType.Disconnect, reasonCode: 0 });
      await first.ended();
      const other = await scene.client(5);
      other.sendConnect({ clientId: 'other' });
      await other.refused(0x97);
      assert.equal(
        (await (await scene.client(4)).connect({ clientId: 'kept', cleanStart: false })).sessionPresent,
        true,
      );
    }));

  it('global_max_connections', () =>
    withConf(open('global_max_connections 1'), async (scene) => {
      await (await scene.client(4)).connect({ clientId: 'one' });
      await (await scene.client(4)).closed();
    }));

  it('persistent_client_expiration', () =>
    withConf(open('persistent_client_expiration 2d'), async (scene) => {
      const client = await scene.client(5);
      const { properties } = await client.connect({ clientId: 'c', properties: { sessionExpiryInterval: 0xffffffff } });
      assert.equal(properties!.sessionExpiryInterval, 172_800);
    }));

  it('retain_available', () =>
    withConf(open('retain_available false'), async (scene) => {
      const five = await scene.client(5);
      assert.equal((await five.connect({ clientId: 'five' })).properties!.retainAvailable, 0);
      five.publish('t', 'x', { retain: true });
      await five.refused(0x9a);
      const old = await scene.client(4);
      await old.connect({ clientId: 'old' });
      old.publish('t', 'x', { retain: true });
      await old.closed();
    }));

  it('upgrade_outgoing_qos', () =>
    withConf(open('upgrade_outgoing_qos true'), async (scene) => {
      const subscriber = await scene.client(4);
      await subscriber.connect({ clientId: 'subscriber' });
      await subscriber.subscribe('t', { qos: 2 });
      const publisher = await scene.client(4);
      await publisher.connect({ clientId: 'publisher' });
      await publisher.deliver('t', 'zero');
      await publisher.deliver('t', 'one', { qos: 1 });
      assert.equal((await subscriber.message()).qos, 2);
      assert.equal((await subscriber.message()).qos, 2);
      await publisher.deliver('r', 'stored', { retain: true });
      await subscriber.subscribe('r', { qos: 1 });
      assert.equal((await subscriber.message()).qos, 1);
    }));

  it('clientid_prefixes', () =>
    withConf(open('clientid_prefixes secure-'), async (scene) => {
      await (await scene.client(4)).connect({ clientId: 'secure-client' });
      const other = await scene.client(4);
      other.sendConnect({ clientId: 'mqtt' });
      await other.refused(0x87, 5);
    }));

  it('memory_limit: above it new clients are refused, and those that are there stay', () =>
    withConf(open('memory_limit 1000'), async (scene) => {
      const patient = async (): Promise<void> => {
        for (let attempt = 0; attempt < 1000; attempt++) {
          const client = await scene.client(4);
          client.sendConnect({ clientId: 'late' });
          try {
            await client.next();
            client.stream.destroy();
          } catch {
            return; // closed without an answer
          }
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        assert.fail('clients are still let in');
      };
      await patient();
      assert.match(scene.log.join(''), /Error: The broker is overloaded/);
    }));

  it('check_retain_source has nobody to ask about without an access list', () =>
    withConf(open('check_retain_source true'), async (scene) => {
      const publisher = await scene.client(4);
      await publisher.connect({ clientId: 'publisher' });
      await publisher.deliver('r', 'kept', { retain: true });
      const reader = await scene.client(4);
      await reader.connect({ clientId: 'reader' });
      await reader.subscribe('r');
      assert.equal((await reader.message()).payload, 'kept');
    }));

  it('sys_interval 0 publishes no $SYS', () =>
    withConf(open('sys_interval 0'), async (scene) => {
      const client = await scene.client(4);
      await client.connect();
      await client.subscribe('$SYS/#');
      await client.quiet();
    }));

  it('sys_interval', () =>
    withConf(open('sys_interval 1'), async (scene) => {
      const client = await scene.client(4);
      await client.connect();
      await client.subscribe('$SYS/broker/uptime');
      const first = Number.parseInt((await client.message()).payload, 10);
      assert.ok(Number.parseInt((await client.message()).payload, 10) > first);
    }));

  it('allow_duplicate_messages is as if it were false', () =>
    withConf(open('allow_duplicate_messages true'), async (scene) => {
      const client = await scene.client(4);
      await client.connect();
      await client.subscribe(['a/#', 'a/+']);
      client.publish('a/b', 'once');
      assert.equal((await client.message()).payload, 'once');
      await client.quiet();
    }));
});
