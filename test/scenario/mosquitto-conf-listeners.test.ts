/** Goal: the directives of mosquitto.conf about listeners do to clients what they do there. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { encodePacket, PacketType } from '../../src/protocol/index.js';
import { MosquittoScene, withConf } from '../support/mosquitto-scene.js';
import { connectPacket, WireClient } from '../support/wire-client.js';

const open = (rest: string) => `allow_anonymous true\nlistener PORT 127.0.0.1\n${rest}\n`;

describe('listeners of a mosquitto.conf', () => {
  it('several, each with its own limits', () =>
    withConf(
      'allow_anonymous true\nlistener PORT 127.0.0.1\nmax_qos 0\nmax_topic_alias 3\nmax_topic_alias_broker 0\nlistener PORT2 127.0.0.1\nmax_qos 1\nmax_topic_alias 0\n',
      async (scene) => {
        const one = await scene.client(5, 1);
        const first = (await one.connect({ clientId: 'one', properties: { topicAliasMaximum: 5 } })).properties!;
        assert.deepEqual([first.maximumQoS, first.topicAliasMaximum], [0, 3]);
        const two = await scene.client(5, 2);
        const second = (await two.connect({ clientId: 'two', properties: { topicAliasMaximum: 5 } })).properties!;
        assert.deepEqual([second.maximumQoS, second.topicAliasMaximum], [1, 0]);
        await one.subscribe('t');
        await two.subscribe('t');
        two.publish('t', 'x', { qos: 1 });
        assert.equal((await one.message()).properties.topicAlias, undefined);
        assert.equal((await two.message()).properties.topicAlias, 1);
        await two.packet(PacketType.Puback);
        one.publish('t', 'x', { qos: 1 });
        await one.refused(0x9b);
        two.publish('t', 'x', { properties: { topicAlias: 1 } });
        await two.refused(0x94);
      },
    ));

  it('port and bind_address make the default listener', () =>
    withConf('port PORT\nbind_address 127.0.0.1\nallow_anonymous true\n', async (scene) => {
      await (await scene.client(4)).connect();
      assert.deepEqual(
        scene.broker.listeners.map(({ address, port }) => [address, port]),
        [['127.0.0.1', scene.ports[0]]],
      );
    }));

  it('include_dir', async () => {
    const scene = new MosquittoScene();
    mkdirSync(join(scene.folder, 'conf.d'));
    writeFileSync(join(scene.folder, 'conf.d', 'b.conf'), 'max_packet_size 3000\n');
    writeFileSync(join(scene.folder, 'conf.d', 'a.conf'), 'max_packet_size 2000\nallow_anonymous true\n');
    try {
      await scene.start('include_dir DIR/conf.d\nlistener PORT 127.0.0.1\n');
      assert.equal((await (await scene.client(5)).connect()).properties!.maximumPacketSize, 3000);
    } finally {
      await scene.stop();
    }
  });

  it('max_connections', () =>
    withConf(open('max_connections 1'), async (scene) => {
      await (await scene.client(4)).connect({ clientId: 'one' });
      await (await scene.client(4)).closed();
    }));

  it('mount_point', () =>
    withConf(
      'allow_anonymous true\nlistener PORT 127.0.0.1\nmount_point inner/\nlistener PORT2 127.0.0.1\n',
      async (scene) => {
        const inner = await scene.client(4, 1);
        await inner.connect({ clientId: 'inner' });
        await inner.subscribe('#');
        const outer = await scene.client(4, 2);
        await outer.connect({ clientId: 'outer' });
        await outer.subscribe('#');
        await inner.deliver('t', 'x').catch(() => {});
        assert.equal((await outer.message()).topicName, 'inner/t');
      },
    ));

  it('accept_protocol_versions', () =>
    withConf(open('accept_protocol_versions 3, 5'), async (scene) => {
      await (await scene.client(5)).connect({ clientId: 'five' });
      await (await scene.client(3)).connect({ clientId: 'three' });
      const four = await scene.client(4);
      four.sendConnect({ clientId: 'four' });
      await four.refused(0x84, 1);
    }));

  it('allow_zero_length_clientid false', () =>
    withConf(open('allow_zero_length_clientid false'), async (scene) => {
      const client = await scene.client(5);
      client.sendConnect({ clientId: '' });
      await client.refused(0x85);
    }));

  it('auto_id_prefix and listener_auto_id_prefix', () =>
    withConf(
      'allow_anonymous true\nauto_id_prefix dev-\nlistener PORT 127.0.0.1\nlistener PORT2 127.0.0.1\nlistener_auto_id_prefix own-\n',
      async (scene) => {
        const idOf = async (number: number) =>
          (await (await scene.client(5, number)).connect({ clientId: '' })).properties!.assignedClientIdentifier!;
        assert.match(await idOf(1), /^dev-/);
        assert.match(await idOf(2), /^own-/);
      },
    ));

  it('use_username_as_clientid', () =>
    withConf(open('use_username_as_clientid true'), async (scene) => {
      const first = await scene.client(5);
      await first.connect({ clientId: 'one', username: 'ada' });
      assert.deepEqual(
        scene.broker.clients().map(({ clientId }) => clientId),
        ['ada'],
      );
      await (await scene.client(5)).connect({ clientId: 'two', username: 'ada' });
      await first.refused(0x8e);
      const nameless = await scene.client(5);
      nameless.sendConnect({ clientId: 'three' });
      await nameless.refused(0x87);
    }));

  it('a Unix socket, also where a broker that was killed left one behind', async () => {
    const scene = new MosquittoScene();
    const path = join(scene.folder, 'm.sock');
    const listen = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    await once(spawn(process.execPath, ['-e', listen]), 'exit');
    assert.ok(existsSync(path));
    try {
      await scene.start('allow_anonymous true\nlistener 0 DIR/m.sock\n');
      const socket = connect(path);
      await once(socket, 'connect');
      await new WireClient(socket, 4).connect();
      socket.destroy();
      const second = new MosquittoScene();
      await assert.rejects(second.start(`allow_anonymous true\nlistener 0 ${path}\n`), /in use by another program/);
      await second.stop();
    } finally {
      await scene.stop();
    }
  });

  const loopback = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some(({ address }) => address === '127.0.0.1'),
  )?.[0];

  it('bind_interface', { skip: loopback === undefined }, () =>
    withConf(`allow_anonymous true\nlistener PORT\nbind_interface ${loopback}\nsocket_domain ipv4\n`, async (scene) => {
      assert.deepEqual(
        scene.broker.listeners.map(({ address }) => address),
        ['127.0.0.1'],
      );
      await (await scene.client(4)).connect();
    }),
  );

  it('bind_interface that is not there', async () => {
    const scene = new MosquittoScene();
    await assert.rejects(
      scene.start('allow_anonymous true\nlistener PORT\nbind_interface nope0\n'),
      /no network interface nope0/,
    );
    await scene.stop();
  });

  it('without an address listens on every one, socket_domain ipv4 on those of IPv4', () =>
    withConf('allow_anonymous true\nlistener PORT\nlistener PORT2\nsocket_domain ipv4\n', async (scene) => {
      await (await scene.client(4, 1)).connect({ clientId: 'one' });
      await (await scene.client(4, 2)).connect({ clientId: 'two' });
      assert.equal(scene.broker.listeners[1]!.address, '0.0.0.0');
    }));

  it('websockets on any path, with websockets_origin and http_dir', async () => {
    const scene = new MosquittoScene();
    mkdirSync(join(scene.folder, 'www', 'sub'), { recursive: true });
    writeFileSync(join(scene.folder, 'www', 'index.html'), '<p>hello');
    writeFileSync(join(scene.folder, 'www', '.hidden'), 'no');
    writeFileSync(join(scene.folder, 'secret'), 'no');
    try {
      await scene.start(open('protocol websockets\nhttp_dir DIR/www\nwebsockets_origin http://page.example'));
      const [port] = scene.ports;
      const status = (path: string) =>
        new Promise<string>((resolve, reject) => {
          get({ host: '127.0.0.1', port, path }, (response) => {
            let text = '';
            response.setEncoding('utf8').on('data', (chunk) => {
              text += chunk;
            });
            response.on('end', () => resolve(`${response.statusCode} ${response.headers['content-type']} ${text}`));
          }).on('error', reject);
        });
      assert.equal(await status('/'), '200 text/html; charset=utf-8 <p>hello');
      for (const path of ['/.hidden', '/../secret', '/%2e%2e/secret', '/sub', '/absent'])
        assert.match(await status(path), /^404 /, path);
      const answer = (origin: string) =>
        new Promise<string>((resolve) => {
          const socket = new WebSocket(`ws://127.0.0.1:${port}/any/path`, 'mqtt', { origin });
          socket.on('open', () => socket.send(encodePacket(connectPacket(4, { clientId: origin }), 4)));
          socket.on('message', (data: Buffer) => {
            resolve(data.toString('hex'));
            socket.close();
          });
          socket.on('error', (error) => resolve(error.message));
        });
      assert.equal(await answer('http://page.example'), '20020000');
      assert.match(await answer('http://other.example'), /403/);
    } finally {
      await scene.stop();
    }
  });

  for (const version of [1, 2])
    it(`enable_proxy_protocol ${version}`, () =>
      withConf(open(`enable_proxy_protocol ${version}`), async (scene) => {
        const client = await scene.client(4);
        client.stream.write(version === 1 ? 'PROXY TCP4 192.0.2.7 127.0.0.1 4321 1883\r\n' : proxyHeader(false));
        await client.connect();
        assert.equal(scene.broker.clients()[0]!.address, '192.0.2.7');
        assert.match(scene.log.join(''), /New client connected from 192\.0\.2\.7:4321 as wire/);
      }));

  it('proxy_protocol_v2_require_tls', () =>
    withConf(open('enable_proxy_protocol 2\nproxy_protocol_v2_require_tls true'), async (scene) => {
      const plain = await scene.client(4);
      plain.stream.write(proxyHeader(false));
      await plain.ended();
      const secure = await scene.client(4);
      secure.stream.write(proxyHeader(true));
      await secure.connect();
    }));

  it('connection_messages and log_type', () =>
    withConf(open('connection_messages false\nlog_type information\nlog_type subscribe'), async (scene) => {
      const client = await scene.client(4);
      await client.connect({ clientId: 'quiet' });
      await client.subscribe('a/b', { qos: 1 });
      client.send({ type: PacketType.Disconnect, reasonCode: 0 });
      await client.ended();
      assert.match(scene.log.join(''), /^\d+: quiet 1 a\/b$/m);
      assert.doesNotMatch(scene.log.join(''), /New c|disconnected/);
    }));

  it('log lines in the shape of Mosquitto', () =>
    withConf(open('log_timestamp_format [%Y]\nlog_type all'), async (scene) => {
      const client = await scene.client(5);
      await client.connect({ clientId: 'lines', username: 'ada', keepAlive: 60 });
      await client.subscribe('a');
      await client.unsubscribe('a');
      client.send({ type: PacketType.Disconnect, reasonCode: 0 });
      await client.ended();
      await (await scene.client(5)).connect({ clientId: 'a\nb' });
      const text = scene.log.join('');
      const year = new Date().getFullYear();
      assert.match(
        text,
        new RegExp(`^\\[${year}\\]: New connection from 127\\.0\\.0\\.1:\\d+ on port ${scene.ports[0]}\\.$`, 'm'),
      );
      assert.match(text, /: New client connected from 127\.0\.0\.1:\d+ as lines \(p5, c1, k60, u'ada'\)\.$/m);
      assert.match(text, /: lines 0 a$/m);
      assert.match(text, /: lines a$/m);
      assert.match(text, /: Client lines disconnected\.$/m);
      for (const line of text.trimEnd().split('\n')) assert.match(line, new RegExp(`^\\[${year}\\]: `));
    }));

  it('log_timestamp false', () =>
    withConf(open('log_timestamp false'), async (scene) => {
      await (await scene.client(4)).connect();
      assert.match(scene.log.join(''), /^New connection from /m);
    }));
});

/** Version 2 from 192.0.2.7:4321, with a TLV that tells of TLS or without. */
function proxyHeader(tls: boolean): Buffer {
  const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
  const addresses = Buffer.from('c00002077f00000110e1075b', 'hex');
  const tlv = tls ? Buffer.from('200005010000000000'.slice(0, 16), 'hex') : Buffer.alloc(0);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(addresses.length + tlv.length);
  return Buffer.concat([signature, Buffer.from([0x21, 0x11]), length, addresses, tlv]);
}
