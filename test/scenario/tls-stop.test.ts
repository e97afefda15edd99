/** A listener that stops does not wait for handshakes that nobody goes on with. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { it } from 'node:test';
import { listenWebSocket } from '../../src/transport/index.js';
import { Authority, Folder } from '../support/pki.js';
import { TlsScene } from '../support/tls-scene.js';

it('unfinished handshakes end with the listener', async () => {
  const folder = new Folder();
  const authority = await Authority.create('Test CA');
  const { certificate, key } = await authority.issue('localhost', { names: ['localhost'] });
  const settings = { certificate: folder.write('server.crt', certificate), key: folder.write('server.key', key) };
  const scene = await TlsScene.start(settings, { handshakeTimeoutMs: 120_000 });
  const web = await listenWebSocket({
    name: 'web',
    host: '127.0.0.1',
    port: 0,
    path: '/mqtt',
    origins: [],
    packetBytesMax: () => 1000,
    handshakeTimeoutMs: 120_000,
    tls: scene.tls,
    log: { level: 0, error: () => {}, warning: () => {}, information: () => {}, debug: () => {} },
    onStream: () => {},
  });
  try {
    const ports = [scene.port, (web.bound as { port: number }).port];
    const silent = ports.map((port) => connect(port, '127.0.0.1').on('error', () => {}));
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    // The next ones are accepted after them, and say so.
    for (const port of ports) {
      const shaken = scene.dial({ port });
      await once(shaken, 'secureConnect');
    }
    const closed = silent.map((socket) => once(socket, 'close', { signal: AbortSignal.timeout(60_000) }));
    await Promise.all([scene.stop(), web.close()]);
    await Promise.all(closed);
  } finally {
    folder.remove();
  }
});
