/** Whoever may not come costs no handshake; whoever came gives its place back, however it ends. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { before, describe, it } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import { closing } from '../../test/support/closing.js';
import { Authority } from '../../test/support/pki.js';
import { silentLogger } from '../base/index.js';
import { until } from './byte-stream.contract.js';
import type { Admit, ByteStream, Listener } from './byte-stream.js';
import type { CertificateVerdict, TlsProvider, TlsTerms } from './secure-server.js';
import { listenTcp } from './tcp.js';
import { listenTls } from './tls.js';
import { listenWebSocket, type WebSocketListenOptions } from './websocket-listener.js';

const PROXIED = 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 8083\r\n';
let identity: { cert: string; key: string };

before(async () => {
  const { certificate, key } = await (await Authority.create('Root')).issue('localhost', { names: ['localhost'] });
  identity = { cert: certificate, key };
});

interface Verdicts {
  /** At accept. */
  enters?: boolean;
  /** When the address is told. */
  isWelcome?: boolean;
}

interface Scene {
  readonly port: number;
  readonly listener: Listener;
  readonly streams: ByteStream[];
  /** What was asked, in order. */
  readonly asked: string[];
  readonly given: () => number;
  readonly held: () => number;
}

type Kind = 'mqtt' | 'mqtts' | 'ws' | 'wss';
type Options = Partial<Pick<WebSocketListenOptions, 'trustedProxies' | 'documentAt' | 'handshakeTimeoutMs'>> & {
  proxied?: boolean;
  judge?: NonNullable<TlsTerms['judge']>;
};

async function listen(kind: Kind, options: Options, { enters = true, isWelcome = true }: Verdicts = {}) {
  const streams: ByteStream[] = [];
  const asked: string[] = [];
  let given = 0;
  let held = 0;
  const admit: Admit = (peer) => {
    asked.push(`enter ${peer.address}`);
    if (!enters) return undefined;
    given++;
    held++;
    let has = true;
    const release = () => {
      if (has) held--;
      has = false;
    };
    const identify: NonNullable<ReturnType<Admit>>['identify'] = ({ address }) => {
      asked.push(`identify ${address}`);
      if (!isWelcome) release();
      return isWelcome;
    };
    return { identify, release };
  };
  // By default longer than a test may take: no place waits for it.
  const { proxied = false, judge, handshakeTimeoutMs = 600_000, ...web } = options;
  const tls: TlsProvider = {
    terms: { context: identity, ...(judge === undefined ? {} : { judge }) },
    pskHint: undefined,
    alpn: [],
    onChange: () => () => {},
  };
  const common = {
    name: 'test',
    host: '127.0.0.1',
    port: 0,
    handshakeTimeoutMs,
    log: silentLogger,
    admit,
    ...(proxied ? { proxyProtocol: 'any' as const } : {}),
    onStream: (stream: ByteStream) => {
      streams.push(stream);
      if (kind !== 'mqtt') stream.start({ onBytes: () => {}, onWritten: () => {}, onClosed: () => {} });
    },
  };
  const proxy = { name: 'test', accept: 'any', timeoutMs: handshakeTimeoutMs, log: silentLogger } as const;
  const listener = await (kind === 'mqtt'
    ? listenTcp({ ...common, proxy })
    : kind === 'mqtts'
      ? listenTls({ ...common, tls })
      : listenWebSocket({
          ...common,
          ...web,
          path: '/mqtt',
          origins: ['https://ok.example'],
          packetBytesMax: () => 1000,
          ...(kind === 'wss' ? { tls } : {}),
        }));
  const { port } = listener.bound as { port: number };
  return { port, listener, streams, asked, given: () => given, held: () => held };
}

function dial(port: number, bytes = ''): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  if (bytes !== '') socket.write(bytes);
  return socket;
}

/** Shakes hands over a connection on which `bytes` went ahead. */
function shake(port: number, bytes = '') {
  const socket = dial(port, bytes);
  const secure = connectTls({ socket, rejectUnauthorized: false });
  secure.on('error', () => {});
  secure.resume();
  return { socket, secure };
}

function upgrade(scheme: 'ws' | 'wss', port: number, headers: Record<string, string> = {}, protocol = 'mqtt') {
  const webSocket = new WebSocket(`${scheme}://127.0.0.1:${port}/mqtt`, protocol, {
    headers,
    rejectUnauthorized: false,
  });
  webSocket.on('error', () => {});
  return webSocket;
}

const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
const ended = (socket: Socket) => closing(socket.resume());

describe('whoever may not come', { timeout: 120_000 }, () => {
  for (const kind of ['mqtts', 'wss'] as const)
    it(`gets no ServerHello (${kind})`, async () => {
      const scene = await listen(kind, {}, { isWelcome: false });
      const { socket, secure } = shake(scene.port);
      await closing(secure);
      assert.equal(socket.bytesRead, 0);
      assert.deepEqual(scene.asked, ['enter 127.0.0.1', 'identify 127.0.0.1']);
      assert.equal(scene.held(), 0);
      await scene.listener.close();
    });

  for (const kind of ['mqtt', 'mqtts', 'ws', 'wss'] as const) {
    it(`is closed at accept, before a PROXY protocol header is awaited (${kind})`, async () => {
      const scene = await listen(kind, { proxied: true }, { enters: false });
      const socket = dial(scene.port);
      await ended(socket);
      assert.equal(socket.bytesRead, 0);
      assert.deepEqual([scene.asked, scene.given()], [['enter 127.0.0.1'], 0]);
      await scene.listener.close();
    });

    it(`is closed when the PROXY protocol header has told the address (${kind})`, async () => {
      const scene = await listen(kind, { proxied: true }, { isWelcome: false });
      const socket = dial(scene.port, `${PROXIED}\x16\x03\x01`);
      await ended(socket);
      assert.equal(socket.bytesRead, 0);
      assert.deepEqual(scene.asked, ['enter 127.0.0.1', 'identify 192.0.2.1']);
      assert.deepEqual([scene.held(), scene.streams.length], [0, 0]);
      await scene.listener.close();
    });
  }

  it('behind a trusted proxy is closed by the address that the request tells, not by that of the proxy', async () => {
    const scene = await listen('ws', { trustedProxies: ['127.0.0.1'] }, { isWelcome: false });
    const page = dial(scene.port, request('/'));
    const [answer] = (await once(page, 'data')) as [Buffer];
    assert.match(String(answer), /^HTTP\/1\.1 404 /);
    assert.deepEqual(scene.asked, ['enter 127.0.0.1']);
    await closing(upgrade('ws', scene.port, { 'x-forwarded-for': '192.0.2.1' }));
    assert.deepEqual(scene.asked, ['enter 127.0.0.1', 'enter 127.0.0.1', 'identify 192.0.2.1']);
    await until(() => scene.held() === 0);
    assert.equal(scene.streams.length, 0);
    await scene.listener.close();
  });
});

const never = () => new Promise<CertificateVerdict>(() => {});
const big = { type: 'text/plain', body: Buffer.alloc(64 * 1024 * 1024) };

/** How connections end. Each comes to its end by itself, or by what is done in here. */
const endings: [string, readonly Kind[], Options, (scene: Scene, kind: Kind) => unknown][] = [
  [
    'that leaves without a byte',
    ['mqtts', 'ws', 'wss'],
    {},
    async ({ port, given }) => {
      const socket = dial(port);
      await until(() => given() === 1);
      socket.destroy();
    },
  ],
  [
    'that resets the connection in the middle of the handshake',
    ['mqtts', 'wss'],
    {},
    async ({ port, given }) => {
      const socket = dial(port, '\x16\x03\x01\x02\0');
      await until(() => given() === 1);
      socket.resetAndDestroy();
    },
  ],
  ['that speaks something else', ['mqtts', 'ws', 'wss'], {}, ({ port }) => ended(dial(port, '\x10\x0cxyz\r\n\r\n'))],
  ['that says nothing', ['mqtts', 'ws', 'wss'], { handshakeTimeoutMs: 50 }, ({ port }) => ended(dial(port))],
  [
    'whose certificate is refused',
    ['mqtts', 'wss'],
    { judge: () => ({ trusted: false, refusal: 'no' }) },
    ({ port }) => closing(shake(port).secure),
  ],
  [
    'whose certificate cannot be judged',
    ['mqtts', 'wss'],
    { judge: () => Promise.reject(new Error('no')) },
    ({ port }) => closing(shake(port).secure),
  ],
  [
    'that leaves while its certificate is judged',
    ['mqtts', 'wss'],
    { judge: never },
    async ({ port }) => {
      const { secure } = shake(port);
      await once(secure, 'secureConnect');
      secure.destroy();
    },
  ],
  [
    'whose certificate is judged when the listener stops',
    ['mqtts', 'wss'],
    { judge: never },
    async ({ port, listener }) => {
      const { secure } = shake(port);
      await once(secure, 'secureConnect');
      await listener.close();
      await closing(secure);
    },
  ],
  [
    'that shakes hands and leaves',
    ['mqtts', 'wss'],
    {},
    async ({ port }) => {
      const { secure } = shake(port);
      await once(secure, 'secureConnect');
      secure.end();
    },
  ],
  [
    'that the broker closes',
    ['mqtts'],
    {},
    async ({ port, streams }) => {
      const { secure } = shake(port);
      await until(() => streams.length === 1);
      streams[0]!.destroy();
      await closing(secure);
    },
  ],
  [
    'that the broker ends',
    ['mqtts'],
    {},
    async ({ port, streams }) => {
      const { secure } = shake(port);
      await until(() => streams.length === 1);
      streams[0]!.end();
      await closing(secure);
    },
  ],
  [
    'in the middle of the handshake when the listener stops',
    ['mqtts', 'wss'],
    {},
    async ({ port, given, listener }) => {
      const socket = dial(port);
      await until(() => given() === 1);
      await listener.close();
      await ended(socket);
    },
  ],
  [
    'that shook hands and says nothing',
    ['wss'],
    { handshakeTimeoutMs: 500 },
    ({ port }) => closing(shake(port).secure),
  ],
  [
    'that says nothing when the listener stops',
    ['ws'],
    {},
    async ({ port, given, listener }) => {
      const socket = dial(port);
      await until(() => given() === 1);
      await listener.close();
      await ended(socket);
    },
  ],
  ['that asks for another page', ['ws'], {}, ({ port }) => ended(dial(port, request('/other')))],
  ['that asks for a page without an upgrade', ['ws'], {}, ({ port }) => ended(dial(port, request('/mqtt')))],
  [
    'that asks for many pages at once',
    ['ws'],
    {},
    ({ port }) => ended(dial(port, request('/a') + request('/b') + request('/c'))),
  ],
  [
    'that fetches a document',
    ['ws'],
    { documentAt: () => ({ type: 'text/plain', body: Buffer.from('x') }) },
    ({ port }) => ended(dial(port, request('/ca.crl'))),
  ],
  [
    'that fetches a document over TLS',
    ['wss'],
    { documentAt: () => ({ type: 'text/plain', body: Buffer.from('x') }) },
    async ({ port }) => {
      const { secure } = shake(port);
      secure.write(request('/ca.crl'));
      await closing(secure);
    },
  ],
  [
    'that asks for a document and does not read it',
    ['ws'],
    { documentAt: () => big, handshakeTimeoutMs: 300 },
    ({ port, held }) => {
      dial(port, request('/big')).pause();
      return until(() => held() === 0);
    },
  ],
  [
    'that asks for a document and does not read it when the listener stops',
    ['ws'],
    { documentAt: () => big },
    async ({ port, listener, held }) => {
      const socket = dial(port, request('/big'));
      await once(socket, 'data');
      socket.pause();
      await listener.close();
      await until(() => held() === 0);
      socket.destroy();
    },
  ],
  [
    'that breaks off its request',
    ['ws'],
    { handshakeTimeoutMs: 50 },
    ({ port }) => ended(dial(port, 'GET / HTTP/1.1')),
  ],
  ['without a sub-protocol', ['ws', 'wss'], {}, ({ port }, kind) => closing(upgrade(kind as 'ws', port, {}, 'chat'))],
  [
    'of a page that may not',
    ['ws', 'wss'],
    {},
    ({ port }, kind) => closing(upgrade(kind as 'ws', port, { origin: 'https://evil.example' })),
  ],
  [
    'that opens a WebSocket and leaves',
    ['ws', 'wss'],
    {},
    async ({ port }, kind) => {
      const webSocket = upgrade(kind as 'ws', port);
      await once(webSocket, 'open');
      webSocket.close();
      await closing(webSocket);
    },
  ],
  [
    'that opens a WebSocket and breaks off',
    ['ws', 'wss'],
    {},
    async ({ port }, kind) => {
      const webSocket = upgrade(kind as 'ws', port);
      await once(webSocket, 'open');
      webSocket.terminate();
    },
  ],
  [
    'whose WebSocket the broker closes',
    ['ws', 'wss'],
    {},
    async ({ port, streams }, kind) => {
      const webSocket = upgrade(kind as 'ws', port);
      await until(() => streams.length === 1);
      streams[0]!.destroy();
      await closing(webSocket);
    },
  ],
  [
    'without a PROXY protocol header',
    ['mqtt', 'mqtts', 'ws', 'wss'],
    { proxied: true },
    ({ port }) => ended(dial(port, 'x')),
  ],
  [
    'whose PROXY protocol header does not come',
    ['mqtt', 'mqtts', 'ws', 'wss'],
    { proxied: true, handshakeTimeoutMs: 50 },
    ({ port }) => ended(dial(port)),
  ],
  [
    'that leaves in the middle of the PROXY protocol header',
    ['mqtt', 'mqtts', 'ws', 'wss'],
    { proxied: true },
    async ({ port, given }) => {
      const socket = dial(port, 'PROXY ');
      await until(() => given() === 1);
      socket.destroy();
    },
  ],
  [
    'whose PROXY protocol header is awaited when the listener stops',
    ['mqtt', 'mqtts', 'ws', 'wss'],
    { proxied: true },
    async ({ port, given, listener }) => {
      const socket = dial(port, 'PROXY ');
      await until(() => given() === 1);
      await listener.close();
      await ended(socket);
    },
  ],
  [
    'that leaves behind its PROXY protocol header',
    ['mqtts', 'ws', 'wss'],
    { proxied: true },
    async ({ port, asked }) => {
      const socket = dial(port, PROXIED);
      await until(() => asked.length === 2);
      socket.destroy();
    },
  ],
  [
    'that came through a proxy and leaves',
    ['mqtt'],
    { proxied: true },
    async ({ port, streams }) => {
      const socket = dial(port, PROXIED);
      await until(() => streams.length === 1);
      streams[0]!.start({ onBytes: () => {}, onWritten: () => {}, onClosed: () => {} });
      socket.end();
    },
  ],
  [
    'that came through a proxy and is closed',
    ['mqtt'],
    { proxied: true },
    async ({ port, streams }) => {
      const socket = dial(port, PROXIED);
      await until(() => streams.length === 1);
      streams[0]!.destroy();
      await ended(socket);
    },
  ],
];

describe('a place is given back by one', { timeout: 120_000 }, () => {
  for (const [what, kinds, options, end] of endings)
    for (const kind of kinds)
      it(`${what} (${kind})`, async () => {
        const scene = await listen(kind, options);
        try {
          await end(scene, kind);
          await until(() => scene.given() === 1 && scene.held() === 0);
        } finally {
          await scene.listener.close();
        }
      });
});
