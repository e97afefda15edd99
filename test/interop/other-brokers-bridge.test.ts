/** Bridges whose remote is the MQTT of RabbitMQ or of NATS. */
import assert from 'node:assert/strict';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import mqtt from 'mqtt';
import { Brokers, reaches, Watch, within } from '../support/bridge-scene.js';
import type { Server } from '../support/real-server.js';
import { startNats, startRabbitmq } from './mqtt-servers.js';

for (const { name, start, highest } of [
  { name: 'NATS', start: startNats, highest: 2 },
  { name: 'RabbitMQ', start: startRabbitmq, highest: 1 },
] as const) {
  const remote: Server | undefined = await start();

  describe(`a bridge to ${name}`, { skip: remote === undefined, timeout: 180_000 }, () => {
    let brokers: Brokers;
    const clients: mqtt.MqttClient[] = [];
    beforeEach(() => {
      brokers = new Brokers();
    });
    afterEach(async () => {
      for (const client of clients.splice(0)) client.end(true);
      await brokers.stop();
    });
    after(() => remote?.stop());

    const bridged = (id: string) =>
      brokers.start({
        bridges: [
          {
            name: id,
            remotes: [{ host: '127.0.0.1', port: remote!.port }],
            protocolVersion: '3.1.1',
            reconnect: { minimumSeconds: 1, maximumSeconds: 1 },
            topics: [
              {
                topic: 'sensor/#',
                direction: 'out',
                qos: highest,
                localPrefix: 'local/',
                remotePrefix: `${id}/site1/`,
              },
              { topic: 'command/+', direction: 'in', qos: highest, localPrefix: 'from/', remotePrefix: `${id}/` },
            ],
          },
        ],
      });

    async function client(options: mqtt.IClientOptions = {}): Promise<mqtt.MqttClient> {
      const url = `mqtt://127.0.0.1:${remote!.port}`;
      const made = await mqtt.connectAsync(url, { protocolVersion: 4, reconnectPeriod: 100, ...options });
      made.on('error', () => {});
      clients.push(made);
      return made;
    }

    /** What a client of the remote gets, as `topic payload`. */
    async function listen(filter: string, options: mqtt.IClientOptions = {}) {
      const got: string[] = [];
      let wake = () => {};
      const subscriber = await client(options);
      subscriber.on('message', (topic, payload) => {
        got.push(`${topic} ${payload}`);
        wake();
      });
      await subscriber.subscribeAsync(filter, { qos: 1 });
      const enough = async (count: number) => {
        while (got.length < count)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        return got.splice(0, count);
      };
      return { take: (count: number) => within(enough(count), () => `${count} messages, after ${got}`) };
    }

    it('forwards both ways at every QoS that it has', async () => {
      const local = await bridged('ways');
      await reaches(local, 'ways', 'connected');
      const there = await listen('ways/site1/#');
      const here = new Watch(local, 'from/#');
      const publisher = await client();
      for (const qos of [0, 1, 2] as const) {
        for (let count = 0; count < 50; count++) local.publish(`local/sensor/t${qos}`, `${count}`, { qos });
        assert.deepEqual(
          await there.take(50),
          Array.from({ length: 50 }, (_, count) => `ways/site1/sensor/t${qos} ${count}`),
        );
        if (qos > highest) continue;
        // The subscription of the bridge may be younger than `connected`.
        let seen: string | undefined;
        const answer = (async () => {
          // More than one of the last round may have been sent, and come late.
          for (let late = true; late; ) {
            const { topicName, payload } = await here.next();
            late = qos > 0 && payload === `${qos - 1}`;
            if (!late) seen = `${topicName} ${payload}`;
          }
        })();
        while (seen === undefined) {
          await publisher.publishAsync('ways/command/go', `${qos}`, { qos });
          await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 200))]);
        }
        assert.equal(seen, `from/command/go ${qos}`);
      }
    });

    it('keeps what is published while the remote is away', async () => {
      const local = await bridged('away');
      await reaches(local, 'away', 'connected');
      // Its session collects what the bridge sends before it is back.
      const there = await listen('away/site1/#', { clientId: 'collector', clean: false });
      await remote!.kill();
      await reaches(local, 'away', ({ state }) => state !== 'connected');
      for (let count = 0; count < 200; count++) local.publish('local/sensor/t', `${count}`, { qos: 1 });
      await remote!.start();
      // At least once: some may come again.
      const got = new Set<string>();
      while (got.size < 200) for (const line of await there.take(1)) got.add(line);
      assert.deepEqual(
        [...got],
        Array.from({ length: 200 }, (_, count) => `away/site1/sensor/t ${count}`),
      );
    });
  });
}
