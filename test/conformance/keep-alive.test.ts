/** Keep alive and PINGREQ: v5 §3.1.2.10 and §3.12, 3.1.1 §3.1.2.10 and §3.12. */
import assert from 'node:assert/strict';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { all, concurrently, conformance, v3, v5 } from '../support/conformance.js';
import { frame } from '../support/wire-bytes.js';

const short = { config: { limits: { keepAliveSecondsMax: 1 } } };
const subscription = { topicFilter: 't', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;

concurrently('keep alive', () => {
  conformance('[MQTT-3.12.4-1] [MQTT3-3.12.4-1] PINGREQ is answered by PINGRESP', all, async ({ connect }) => {
    const client = await connect();
    client.send('c000', 'c000');
    assert.equal(await client.bytes(), 'd000');
    assert.equal(await client.bytes(), 'd000');
    await client.quiet();
    const wrong = await connect();
    wrong.send(frame(0xc0, '00'));
    await wrong.refused(ReasonCode.MalformedPacket);
  });

  conformance(
    '[MQTT-3.1.2-22] [MQTT3-3.1.2-24] a client that is silent for one and a half times its keep alive is closed; one that pings is not',
    all,
    async ({ connect }) => {
      const without = await connect({ keepAlive: 0 });
      const patient = await connect({ keepAlive: 3600 });
      const pinging = await connect({ keepAlive: 2 });
      const pings = setInterval(() => pinging.send('c000'), 200);
      try {
        const begun = Date.now();
        const silent = await connect({ keepAlive: 2 });
        await silent.refused(ReasonCode.KeepAliveTimeout);
        assert.ok(Date.now() - begun >= 2800, 'not before one and a half times two seconds have passed');
      } finally {
        clearInterval(pings);
      }
      await without.quiet();
      await patient.quiet();
      pinging.send({ type: PacketType.Subscribe, packetId: 1, subscriptions: [subscription] });
      for (;;) {
        const { packet } = await pinging.next();
        if (packet.type === PacketType.Suback) break;
        assert.equal(packet.type, PacketType.Pingresp);
      }
    },
  );

  conformance('[MQTT-3.1.2-22] [MQTT3-3.1.2-24] any packet counts, not PINGREQ alone', all, async ({ connect }) => {
    const busy = await connect({ keepAlive: 2 });
    const publishes = setInterval(() => busy.publish('t', 'x'), 200);
    try {
      await (await connect({ keepAlive: 2 })).refused(ReasonCode.KeepAliveTimeout);
    } finally {
      clearInterval(publishes);
    }
    await busy.quiet();
  });

  conformance('[MQTT-3.2.2-22] without a Server Keep Alive the value of CONNECT is used', v5, async ({ open }) => {
    const client = await open();
    const { properties } = await client.connect({ keepAlive: 1 });
    assert.equal(properties?.serverKeepAlive, undefined);
    await client.refused(ReasonCode.KeepAliveTimeout);
  });

  conformance('a Server Keep Alive is told and used', v5, short, async ({ open }) => {
    for (const keepAlive of [0, 3600]) {
      const client = await open();
      const { properties } = await client.connect({ clientId: `asks-${keepAlive}`, keepAlive });
      assert.equal(properties?.serverKeepAlive, 1);
      await client.refused(ReasonCode.KeepAliveTimeout);
    }
    const client = await open();
    assert.equal((await client.connect({ keepAlive: 1 })).properties?.serverKeepAlive, undefined);
  });

  conformance('3.x clients, who cannot be told, keep their own keep alive', v3, short, async ({ connect }) => {
    const client = await connect({ keepAlive: 3600 });
    await (await connect({ keepAlive: 1 })).refused(ReasonCode.KeepAliveTimeout);
    await client.quiet();
  });
});
