/**
 * The broker inside a plain Node program.
 *
 *   node examples/plain-node.mjs [PORT]
 *
 * Devices log in with a key and may publish below their own name only; the program hears every reading, keeps an average and
 * publishes it back. Try it:
 *
 *   mosquitto_sub -p 1884 -u watcher -P secret -t '#' -v
 *   mosquitto_pub -p 1884 -u boiler -P boiler-key -t device/boiler/temp -m 61.5
 */
import { createBroker, createLogger, ReasonCode } from 'dunlin';

const port = Number(process.argv[2] ?? 1884);
const keys = new Map([
  ['boiler', 'boiler-key'],
  ['pump', 'pump-key'],
  ['watcher', 'secret'],
]);

const broker = createBroker({
  // The same settings as in a configuration file, with the same defaults and the same checks.
  config: {
    listeners: [{ name: 'devices', protocol: 'mqtt', host: '127.0.0.1', port, allowAnonymous: false }],
    limits: { packetBytesMax: 65536 },
    sys: { intervalSeconds: 0 },
  },
  logger: createLogger({ level: 'warning', format: 'auto' }),
  // Questions left out (enhanced authentication, here) are answered as the configuration says.
  policy: {
    // May return a promise, to ask a database.
    authenticate({ username, password }) {
      const key = keys.get(username ?? '');
      const known = key !== undefined && password !== undefined && Buffer.from(password).toString() === key;
      return { reasonCode: known ? ReasonCode.Success : ReasonCode.BadUserNameOrPassword };
    },
    authorizePublish: (client, topicName) =>
      topicName.startsWith(`device/${client.username}/`) ? ReasonCode.Success : ReasonCode.NotAuthorized,
    // Returns the QoS that is granted, or a reason code that refuses.
    authorizeSubscribe: (client, _topicFilter, qos) => (client.username === 'watcher' ? qos : ReasonCode.NotAuthorized),
  },
});

broker.on('clientConnected', ({ client }) => console.log(`${client.clientId} is here as ${client.username}`));
broker.on('clientDisconnected', ({ client, reason }) => console.log(`${client.clientId} left: ${reason}`));
broker.on('subscribed', ({ client, topicFilter }) => console.log(`${client.clientId} listens to ${topicFilter}`));

const averages = new Map();
broker.subscribe('device/+/temp', ({ topicName, payload }) => {
  const device = topicName.split('/')[1];
  const reading = Number(payload.toString());
  if (Number.isNaN(reading)) return;
  const average = averages.has(device) ? averages.get(device) * 0.9 + reading * 0.1 : reading;
  averages.set(device, average);
  broker.publish(`average/${device}/temp`, average.toFixed(2), { qos: 1, retain: true });
});

await broker.start();
console.log(`MQTT on port ${broker.listeners[0].port}`);

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => broker.stop());
