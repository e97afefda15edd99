/**
 * Users by certificate, through TLS and the whole broker: by serial number and issuer (each identity on or off for a listener), by a common name
 * that has to be that of a user, and both in one data source.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { connect } from 'node:tls';
import { type Broker, type ConfigInput, createBroker } from '../../src/index.js';
import { PacketType } from '../../src/protocol/index.js';
import { Authority, Folder, type Issued } from '../support/pki.js';
import { WireClient } from '../support/wire-client.js';

describe('users by certificate', { timeout: 60_000 }, () => {
  const folder = new Folder();
  let authority: Authority;
  let device: Issued;
  let other: Issued;

  before(async () => {
    authority = await Authority.create('Plant CA');
    device = await authority.issue('client_device_001');
    other = await authority.issue('somebody');
    folder.write('ca.pem', authority.certificate);
    const server = await authority.issue('localhost', { names: ['localhost'] });
    folder.write('server.pem', server.certificate);
    folder.write('server.key', server.key);
  });
  after(() => folder.remove());

  async function withBroker(
    config: ConfigInput,
    body: (
      try_: (listener: string, issued: Issued, username?: string) => Promise<number>,
      broker: Broker,
    ) => Promise<void>,
  ): Promise<void> {
    const tls = {
      certificate: `${folder.path}/server.pem`,
      key: `${folder.path}/server.key`,
      clientCa: [`${folder.path}/ca.pem`],
    };
    const listener = (name: string) => ({ name, protocol: 'mqtts' as const, port: 0, tls });
    const broker = createBroker({
      config: {
        listeners: [listener('one'), listener('two')],
        sys: { intervalSeconds: 0 },
        protection: { overload: { eventLoopDelayMsMax: 0 } },
        ...config,
      },
    });
    await broker.start();
    const tryIt = async (name: string, { certificate, key }: Issued, username?: string): Promise<number> => {
      const { port } = broker.listeners.find((each) => each.name === name)!;
      const socket = connect({
        port: port!,
        host: '127.0.0.1',
        servername: 'localhost',
        ca: authority.certificate,
        cert: certificate,
        key,
      });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      const client = new WireClient(socket, 5);
      client.sendConnect({ clientId: 'c', ...(username === undefined ? {} : { username }) });
      const { reasonCode } = await client.packet(PacketType.Connack);
      if (reasonCode === 0) {
        await client.subscribe('own/#', { qos: 1 });
        await client.deliver('own/x', '1', { qos: 1 }).catch(() => {});
      }
      socket.destroy();
      return reasonCode;
    };
    try {
      await body(tryIt, broker);
    } finally {
      await broker.stop();
    }
  }

  it('by serial number and issuer, where the identity is enabled', () =>
    withBroker(
      {
        authentication: [
          {
            type: 'certificate',
            onlyListed: true,
            listed: [
              { serialNumber: device.serialNumber, issuer: 'CN=Plant CA', username: 'device', listeners: ['one'] },
            ],
          },
        ],
      },
      async (tryIt, broker) => {
        const seen: (string | undefined)[] = [];
        broker.on('clientConnected', ({ client }) => seen.push(client.username));
        assert.equal(await tryIt('one', device), 0);
        assert.deepEqual(seen, ['device']);
        assert.notEqual(await tryIt('two', device), 0, 'disabled on this listener');
        assert.notEqual(await tryIt('one', other), 0, 'not registered');
      },
    ));

  it('by a common name that is that of a user', () =>
    withBroker(
      {
        users: [{ username: 'client_device_001', password: 'unused' }],
        authentication: [{ type: 'certificate', username: 'commonName', mustBeUser: true }],
      },
      async (tryIt) => {
        assert.equal(await tryIt('one', device), 0);
        assert.notEqual(await tryIt('one', other), 0);
        assert.notEqual(
          await tryIt('one', other, 'client_device_001'),
          0,
          'the certificate counts, not the name in CONNECT',
        );
      },
    ));

  it('by a data source, whose failure lets nobody in and is seen in the status', async () => {
    const known = new Set([`${device.serialNumber.toUpperCase()} CN=Plant CA`]);
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        const { serial, issuer } = JSON.parse(body) as { serial: string; issuer: string };
        const result = known.has(`${serial.toUpperCase()} ${issuer}`) ? 'allow' : 'deny';
        response.setHeader('content-type', 'application/json').end(JSON.stringify({ result }));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await withBroker(
      {
        authentication: [
          {
            type: 'http',
            url: `http://127.0.0.1:${port}/`,
            body: { serial: '${cert_serial}', issuer: '${cert_issuer}' },
          },
        ],
      },
      async (tryIt, broker) => {
        assert.equal(await tryIt('one', device), 0);
        assert.notEqual(await tryIt('one', other), 0);
        server.closeAllConnections();
        server.close();
        const third = await authority.issue('third');
        assert.equal(await tryIt('one', third), 0x88);
        assert.match(JSON.stringify(broker.status()), /ECONNREFUSED|failing/);
      },
    );
  });
});
