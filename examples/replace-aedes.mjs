/**
 * From Aedes to Dunlin: one small program. Above each part stands in a comment how it is written with Aedes 1.x.
 *
 *   node examples/replace-aedes.mjs [PORT]
 *
 *   Aedes                                  Dunlin
 *   Aedes.createBroker(options)            createBroker({ config, policy }), then broker.start()
 *   server.listen + broker.handle          a listener of the configuration; broker.handle(stream) for streams of your own
 *   ws + broker.handle                     a listener with protocol ws; broker.attachWebSocket(server) for a server of your own
 *   authenticate, authorizePublish,        the functions of the same names in `policy`: they return a reason code, and no
 *     authorizeSubscribe                     callback is called
 *   authorizeForward                       authorizeReceive in `policy`, which says yes or no
 *   on('clientReady')                      on('clientConnected')
 *   on('clientDisconnect')                 on('clientDisconnected'), with the reason
 *   on('publish'), published               broker.subscribe('#', …): the program is a subscriber like others
 *   on('subscribe'), on('unsubscribe')     on('subscribed'), on('unsubscribed'), one event a topic filter
 *   broker.publish(packet, callback)       broker.publish(topicName, payload, options)
 *   broker.close(callback)                 await broker.stop()
 *   persistence                            storage: { mode: 'buffered', path: './data' } in the configuration; memory without
 *   mq                                     is not there: one process is one broker
 *
 * What a refusal does differs: Aedes closes the connection of a client whose publish is refused. Here a 5.0 client gets the
 * reason code with the acknowledgement, a 3.x client a plain acknowledgement, and both stay connected.
 */

// import { createServer } from 'node:net'
// import { Aedes } from 'aedes'
import { createBroker, ReasonCode } from 'dunlin';

const port = Number(process.argv[2] ?? 1884);
const passwords = new Map([
  ['alice', 'wonderland'],
  ['bob', 'builder'],
]);

// const broker = await Aedes.createBroker()
const broker = createBroker({
  config: { listeners: [{ host: '127.0.0.1', port, allowAnonymous: false }] },
  policy: {
    // broker.authenticate = (client, username, password, callback) => {
    //   if (passwords.get(username) === password?.toString()) return callback(null, true)
    //   const error = new Error('bad user name or password')
    //   error.returnCode = 4
    //   callback(error, null)
    // }
    authenticate({ username = '', password }) {
      const expected = passwords.get(username);
      const right = expected !== undefined && password !== undefined && Buffer.from(password).toString() === expected;
      return { reasonCode: right ? ReasonCode.Success : ReasonCode.BadUserNameOrPassword };
    },

    // broker.authorizePublish = (client, packet, callback) => {
    //   callback(packet.topic.startsWith('locked/') ? new Error('not allowed') : null)
    // }
    authorizePublish: (_client, topicName) =>
      topicName.startsWith('locked/') ? ReasonCode.NotAuthorized : ReasonCode.Success,

    // broker.authorizeSubscribe = (client, subscription, callback) => {
    //   callback(null, subscription.topic.startsWith('locked/') ? null : subscription)
    // }
    authorizeSubscribe: (_client, topicFilter, qos) =>
      topicFilter.startsWith('locked/') ? ReasonCode.NotAuthorized : qos,
  },
});

// broker.on('clientReady', (client) => console.log(`${client.id} is ready`))
broker.on('clientConnected', ({ client }) => console.log(`${client.clientId} is ready`));

// broker.on('clientDisconnect', (client) => console.log(`${client.id} is gone`))
broker.on('clientDisconnected', ({ client, reason }) => console.log(`${client.clientId} is gone: ${reason}`));

// broker.on('subscribe', (subscriptions, client) => {
//   for (const { topic } of subscriptions) console.log(`${client.id} subscribed to ${topic}`)
// })
broker.on('subscribed', ({ client, topicFilter }) => console.log(`${client.clientId} subscribed to ${topicFilter}`));

// broker.on('publish', (packet, client) => {
//   if (client) console.log(`${client.id} published ${packet.topic}: ${packet.payload}`)
// })
broker.subscribe('#', ({ publisherId, topicName, payload }) => {
  if (publisherId !== undefined) console.log(`${publisherId} published ${topicName}: ${payload}`);
});

// const server = createServer(broker.handle)
// server.listen(port, '127.0.0.1', () => console.log(`MQTT on port ${server.address().port}`))
await broker.start();
console.log(`MQTT on port ${broker.listeners[0].port}`);

// broker.publish({ cmd: 'publish', topic: 'notice', payload: 'open', qos: 1, retain: true }, () => {})
broker.publish('notice', 'open', { qos: 1, retain: true });

// process.once('SIGTERM', () => broker.close(() => server.close()))
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => broker.stop());
