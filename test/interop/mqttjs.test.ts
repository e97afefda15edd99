/** MQTT.js: every version over TCP and over WebSocket. */
import { after, before, describe, it } from 'node:test';
import mqtt from 'mqtt';
import { assertReport } from './mqttjs-expected.js';
import { runScenario } from './mqttjs-scenario.js';
import { embeddedBroker, type RunningBroker } from './support.js';

const versions = [
  { version: 3, name: '3.1' },
  { version: 4, name: '3.1.1' },
  { version: 5, name: '5.0' },
] as const;
const transports = [
  { transport: 'TCP', url: (broker: RunningBroker) => `mqtt://127.0.0.1:${broker.port}` },
  { transport: 'WebSocket', url: (broker: RunningBroker) => `ws://127.0.0.1:${broker.webPort}/mqtt` },
];

describe('MQTT.js', { timeout: 120_000 }, () => {
  let broker: RunningBroker;
  before(async () => {
    broker = await embeddedBroker();
  });
  after(() => broker.stop());

  for (const { version, name } of versions)
    for (const { transport, url } of transports)
      it(`${name} over ${transport}`, async () => {
        const options = { url: url(broker), version, prefix: `js${version}${transport[0]}` };
        assertReport(await runScenario(mqtt, options), options);
      });
});
