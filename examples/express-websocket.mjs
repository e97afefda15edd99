/**
 * One HTTP port for an Express app and for MQTT over WebSocket.
 *
 *   node examples/express-websocket.mjs [PORT]        then open http://127.0.0.1:3000/
 *
 * The broker has no listener of its own: it takes the WebSocket connections to /mqtt and leaves all else to Express.
 */
import { fileURLToPath } from 'node:url';
import { createBroker } from 'dunlin';
import express from 'express';

const broker = createBroker({ config: { listeners: [] } });
await broker.start();

const app = express();
app.use(express.json());
app.get('/', (_request, response) => response.sendFile(fileURLToPath(new URL('./browser.html', import.meta.url))));
app.get('/mqtt.js', (_request, response) =>
  response.sendFile(fileURLToPath(new URL('../node_modules/mqtt/dist/mqtt.min.js', import.meta.url))),
);
app.get('/clients', (_request, response) => response.json(broker.clients().map(({ clientId }) => clientId)));
// HTTP in, MQTT out.
app.post('/publish', (request, response) => {
  const { topic, text } = request.body;
  try {
    response.json({ reasonCode: broker.publish(topic, text, { qos: 1 }) });
  } catch (error) {
    response.status(400).json({ error: error.message });
  }
});

const server = app.listen(Number(process.argv[2] ?? 3000), '127.0.0.1', () => {
  broker.attachWebSocket(server, { path: '/mqtt' });
  console.log(`HTTP and MQTT over WebSocket on port ${server.address().port}`);
});

for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, async () => {
    await broker.stop();
    server.close();
    server.closeAllConnections();
  });
