/**
 * One HTTP port for a Fastify app and for MQTT over WebSocket.
 *
 *   node examples/fastify-websocket.mjs [PORT]        then open http://127.0.0.1:3000/
 *
 * The broker has no listener of its own: it takes the WebSocket connections to /mqtt and leaves all else to Fastify.
 */
import { readFile } from 'node:fs/promises';
import { createBroker } from 'dunlin';
import Fastify from 'fastify';

const broker = createBroker({ config: { listeners: [] } });
await broker.start();

const app = Fastify();
const file = (path) => readFile(new URL(path, import.meta.url));
app.get('/', async (_request, reply) => reply.type('text/html').send(await file('./browser.html')));
app.get('/mqtt.js', async (_request, reply) =>
  reply.type('text/javascript').send(await file('../node_modules/mqtt/dist/mqtt.min.js')),
);
app.get('/clients', () => broker.clients().map(({ clientId }) => clientId));
// HTTP in, MQTT out.
app.post('/publish', async (request, reply) => {
  const { topic, text } = request.body;
  try {
    return { reasonCode: broker.publish(topic, text, { qos: 1 }) };
  } catch (error) {
    return reply.status(400).send({ error: error.message });
  }
});

broker.attachWebSocket(app.server, { path: '/mqtt' });
await app.listen({ host: '127.0.0.1', port: Number(process.argv[2] ?? 3000) });
console.log(`HTTP and MQTT over WebSocket on port ${app.server.address().port}`);

for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, async () => {
    await broker.stop();
    app.server.closeAllConnections();
    await app.close();
  });
