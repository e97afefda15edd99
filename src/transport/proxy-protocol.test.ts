import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { closing } from '../../test/support/closing.js';
import { type LogFields, silentLogger } from '../base/index.js';
import { byteStreamContract, until } from './byte-stream.contract.js';
import type { ByteStream } from './byte-stream.js';
import { NodeStream } from './node-stream.js';
import { acceptProxied, type ProxyVersions, parseProxyHeader } from './proxy-protocol.js';

const parse = (bytes: Buffer | string, accept: ProxyVersions = 'any') => {
  const given = Buffer.from(bytes as string, 'latin1');
  return parseProxyHeader(given, 0, given.length, accept);
};
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const v2 = (command: number, family: number, body: Buffer) =>
  Buffer.concat([signature, Buffer.from([0x20 | command, family, body.length >> 8, body.length & 255]), body]);
const v4Body = Buffer.from([192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x07, 0x5b]);
const v4Peer = { address: '192.0.2.1', port: 56324, localAddress: '198.51.100.7', localPort: 1883 };

describe('a PROXY protocol header', () => {
  it('v1 tells addresses and ports', () => {
    const header = 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 1883\r\n';
    assert.deepEqual(parse(`${header}\x10rest`), { length: header.length, peer: v4Peer });
    assert.deepEqual(parse('PROXY TCP6 2001:DB8:0::1 ::1 1 2\r\n'), {
      length: 34,
      peer: { address: '2001:db8::1', port: 1, localAddress: '::1', localPort: 2 },
    });
    assert.deepEqual(parse('PROXY UNKNOWN whatever it says\r\n'), { length: 32, peer: undefined });
    assert.deepEqual(parse('PROXY UNKNOWN\r\n'), { length: 15, peer: undefined });
  });

  it('v2 tells addresses and ports, and its TLVs are skipped', () => {
    const tlv = Buffer.from([0x04, 0, 3, 1, 2, 3]);
    assert.deepEqual(parse(v2(1, 0x11, Buffer.concat([v4Body, tlv]))), { length: 34, peer: v4Peer });
    const v6 = Buffer.alloc(36);
    v6[0] = 0x20;
    v6[1] = 0x01;
    v6[15] = 1;
    v6.set([0xff, 0xff, 10, 0, 0, 1], 26);
    v6.writeUInt16BE(5, 32);
    v6.writeUInt16BE(6, 34);
    assert.deepEqual(parse(v2(1, 0x21, v6)), {
      length: 52,
      peer: { address: '2001::1', port: 5, localAddress: '10.0.0.1', localPort: 6 },
    });
    assert.deepEqual(parse(v2(0, 0x11, v4Body)), { length: 28, peer: undefined });
    assert.deepEqual(parse(v2(1, 0x00, Buffer.alloc(3))), { length: 19, peer: undefined });
    assert.deepEqual(parse(v2(1, 0x31, Buffer.alloc(216))), {
      length: 232,
      peer: { address: '', port: 0, localAddress: '', localPort: 0 },
    });
  });

  it('may come byte by byte', () => {
    for (const header of [Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.7 56324 1883\r\n'), v2(1, 0x11, v4Body)]) {
      for (let end = 0; end < header.length; end++) assert.equal(parseProxyHeader(header, 0, end, 'any'), 'needMore');
      assert.deepEqual(parseProxyHeader(header, 0, header.length, 'any'), { length: header.length, peer: v4Peer });
    }
  });

  it('is refused as soon as it cannot be one', () => {
    const refused: [Buffer | string, ProxyVersions, RegExp][] = [
      ['\x10', 'any', /does not begin with a PROXY protocol header \(v1 or v2\)/],
      ['PROXX', 'any', /does not begin/],
      ['PROXY ', 'v2', /does not begin.*\(v2\)/],
      [signature, 'v1', /does not begin.*\(v1\)/],
      [`PROXY TCP4 ${'1'.repeat(120)}`, 'v1', /without line end in 107 bytes/],
      ['PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n', 'v1', /unknown family/],
      ['PROXY TCP4 ::1 ::1 1 2\r\n', 'v1', /without two TCP4 addresses/],
      ['PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n', 'v1', /without two TCP4 addresses/],
      ['PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n', 'v1', /without two port numbers/],
      ['PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n', 'v1', /without two port numbers/],
      [Buffer.concat([signature, Buffer.from([0x11, 0x11, 0, 12]), v4Body]), 'v2', /version 1/],
      [v2(2, 0x11, v4Body), 'v2', /unknown command 2/],
      [v2(1, 0x12, v4Body), 'v2', /0x12; only streams/],
      [v2(1, 0x21, v4Body), 'v2', /too short/],
      [Buffer.concat([signature, Buffer.from([0x21, 0x11, 0xff, 0xff])]), 'v2', /65551 bytes; at most 4112/],
    ];
    for (const [bytes, accept, expected] of refused) {
      const result = parse(bytes, accept);
      assert.ok(result instanceof Error, JSON.stringify(bytes));
      assert.match(result.message, expected);
    }
  });
});

it('no bytes make the header parser throw or wait for ever', () => {
  const starts = fc.constantFrom(
    Buffer.alloc(0),
    Buffer.from('PROXY '),
    Buffer.from('PROXY TCP6 ::1 '),
    signature,
    v2(1, 0x11, Buffer.alloc(0)).subarray(0, 14),
  );
  fc.assert(
    fc.property(
      starts,
      fc.uint8Array({ maxLength: 300 }),
      fc.constantFrom('v1', 'v2', 'any'),
      (start, rest, accept) => {
        const result = parse(Buffer.concat([start, rest, Buffer.alloc(5000)]), accept as ProxyVersions);
        assert.notEqual(result, 'needMore');
        if (!(result instanceof Error) && result !== 'needMore') assert.ok(result.length <= 4112);
      },
    ),
    { numRuns: 1000 },
  );
});

async function proxied(header: Buffer | string | undefined, timeoutMs = 60_000) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const lines: { event: string; sentence: string; fields: LogFields | undefined }[] = [];
  const log = {
    ...silentLogger,
    warning: (event: string, sentence: string, fields?: LogFields) => lines.push({ event, sentence, fields }),
  };
  const streams: ByteStream[] = [];
  const accepted: NodeStream[] = [];
  server.on('connection', (socket) => {
    const inner = new NodeStream(socket);
    accepted.push(inner);
    acceptProxied(inner, { name: 'test', accept: 'any', timeoutMs, log }, (stream) => streams.push(stream));
  });
  const remote = connect((server.address() as AddressInfo).port, '127.0.0.1');
  remote.on('error', () => {});
  if (header !== undefined) remote.write(header);
  const close = async () => {
    remote.destroy();
    for (const stream of accepted) stream.destroy();
    server.close();
    await once(server, 'close');
  };
  return { remote, streams, lines, close };
}

byteStreamContract('stream behind a PROXY protocol header', async () => {
  const { remote, streams, close } = await proxied(v2(1, 0x11, v4Body));
  await until(() => streams.length === 1);
  return { stream: streams[0]!, remote, close };
});

describe('a stream behind a proxy', () => {
  it('is handed up with the address that the header tells, and the bytes that came with it', async () => {
    const { streams, close } = await proxied(Buffer.concat([v2(1, 0x11, v4Body), Buffer.from('first')]));
    await until(() => streams.length === 1);
    assert.deepEqual(streams[0]!.peer, v4Peer);
    let received = '';
    streams[0]!.start({
      onBytes: (bytes, start, end) => {
        received += bytes.toString('latin1', start, end);
      },
      onWritten: () => {},
      onClosed: () => {},
    });
    await until(() => received === 'first');
    await close();
  });

  it('keeps its own address when the proxy speaks for itself', async () => {
    const { streams, remote, close } = await proxied('PROXY UNKNOWN\r\n');
    await until(() => streams.length === 1);
    assert.equal(streams[0]!.peer.port, remote.localPort);
    await close();
  });

  it('is closed with one line in the log when the header is wrong', async () => {
    const { streams, remote, lines, close } = await proxied('\x10\x0c\0\x04MQTT');
    remote.resume();
    await closing(remote);
    assert.equal(streams.length, 0);
    assert.equal(lines.length, 1);
    assert.equal(lines[0]!.event, 'connection.refused');
    assert.deepEqual(lines[0]!.fields?.listener, 'test');
    await close();
  });

  it('is closed when the header does not come in time', async () => {
    const { streams, remote, lines, close } = await proxied('PROX', 30);
    remote.resume();
    await closing(remote);
    assert.equal(streams.length, 0);
    assert.match(lines[0]!.sentence, /did not come in time/);
    await close();
  });
});
