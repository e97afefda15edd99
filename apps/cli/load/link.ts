// One connection of the load: dialling, the handshake, and writing. What arrives is read by the Receiver.
//
//   dialling --connected--> greeting --CONNACK--> subscribing --last SUBACK--> ready --> closed
//                                         \_______(no filters)________________/
//
// All connections of a thread read into one buffer: libuv fills it and calls back before it reads the next socket.

import { isIP, Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from 'node:net';
import { type ConnectionOptions, connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { nowNs } from './clock.js';
import type { LoadTls } from './plan.js';
import type { Publisher } from './publisher.js';
import { DISCONNECT } from './wire.js';

export type LinkState = 'dialling' | 'greeting' | 'subscribing' | 'ready' | 'closed';

export interface LinkPlan {
  host: string;
  port: number;
  /** Source address, for more connections than one address has ports. */
  localAddress: string | undefined;
  tls: LoadTls | undefined;
  chunk: Buffer;
  connect: Buffer;
  /** SUBSCRIBE packets, each with one packet identifier. */
  subscribes: Buffer[];
}

export interface LinkOwner {
  received(link: Link, bytes: number): void;
  ready(link: Link): void;
  /** Called once; `reason` is undefined when this side closed it. */
  closed(link: Link, reason: string | undefined): void;
}

export class Link {
  readonly socket: Socket;
  state: LinkState = 'dialling';
  /** The beginning of a packet whose end has not come yet. */
  tail: Buffer | undefined;
  /** Where this subscriber's row of the flow table begins; -1 without a table. */
  flowsAt = -1;
  publisher: Publisher | undefined;
  readonly startedNs = nowNs();
  wasReady = false;
  /** Set when the broker has closed or refused: the reason to report. */
  private failure: string | undefined;
  private subacksDue = 0;
  private leaving = false;

  constructor(
    readonly index: number,
    private readonly plan: LinkPlan,
    private readonly owner: LinkOwner,
  ) {
    const onread = {
      buffer: plan.chunk,
      callback: (bytes: number) => {
        owner.received(this, bytes);
        return true;
      },
    };
    this.socket = plan.tls === undefined ? openSocket(plan, onread) : openTls(plan, plan.tls, onread);
    this.socket.setNoDelay(true);
    this.socket.on(plan.tls === undefined ? 'connect' : 'secureConnect', () => {
      this.state = 'greeting';
      this.socket.write(plan.connect);
    });
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.failure ??= describeSocketError(error, plan.host, plan.port);
    });
    this.socket.on('close', () => this.onClose());
  }

  /** Writes bytes that the caller may reuse only when `idle` is true afterwards. */
  write(bytes: Buffer): void {
    if (this.state !== 'closed') this.socket.write(bytes);
  }

  /** True when the kernel has taken everything written so far. */
  get idle(): boolean {
    return this.socket.writableLength === 0;
  }

  onConnack(returnCode: number): void {
    if (this.state !== 'greeting') this.fail('it sent a second CONNACK');
    else if (returnCode !== 0) this.fail(`it refused the connection: ${describeReturnCode(returnCode)}`);
    else if (this.plan.subscribes.length === 0) this.becomeReady();
    else {
      this.state = 'subscribing';
      this.subacksDue = this.plan.subscribes.length;
      for (const subscribe of this.plan.subscribes) this.socket.write(subscribe);
    }
  }

  onSuback(refused: number): void {
    if (refused !== 0) this.fail(`it refused a subscription: reason code 0x${refused.toString(16)}`);
    else if (this.state === 'subscribing' && --this.subacksDue === 0) this.becomeReady();
  }

  /** Gives the connection up for a reason that is the broker's. */
  fail(reason: string): void {
    this.failure ??= reason;
    this.socket.destroy();
  }

  /** Says goodbye and closes; a later 'close' is not a failure. */
  leave(): void {
    if (this.state === 'closed' || this.leaving) return;
    this.leaving = true;
    if (this.state === 'ready' && this.idle) this.socket.write(DISCONNECT);
    this.socket.destroySoon();
  }

  /** Closes without a DISCONNECT, as a crash would. */
  abandon(): void {
    this.leaving = true;
    this.socket.destroy();
  }

  private becomeReady(): void {
    this.state = 'ready';
    this.wasReady = true;
    this.owner.ready(this);
  }

  private onClose(): void {
    if (this.state === 'closed') return;
    const stage = this.state;
    this.state = 'closed';
    const reason = this.failure ?? (this.leaving ? undefined : `it closed the connection while ${stage}`);
    this.owner.closed(this, reason);
  }
}

type OnRead = NonNullable<TcpSocketConnectOpts['onread']>;

function openSocket({ host, port, localAddress }: LinkPlan, onread: OnRead): Socket {
  const options: SocketConstructorOpts & Pick<TcpSocketConnectOpts, 'onread'> & { writableHighWaterMark: number } = {
    // With a mark of one byte every unfinished write is followed by a 'drain', however small it was.
    writableHighWaterMark: 1,
    onread,
  };
  return new Socket(options).connect(localAddress === undefined ? { host, port } : { host, port, localAddress });
}

/** One context for all links of a thread: reading the certificates again for each would be what is measured. */
let shared: { tls: LoadTls; context: SecureContext } | undefined;

function openTls({ host, port, localAddress }: LinkPlan, tls: LoadTls, onread: OnRead): Socket {
  const { psk } = tls;
  if (shared?.tls !== tls)
    shared = {
      tls,
      context: createSecureContext({
        ...(tls.ca === undefined ? {} : { ca: tls.ca }),
        ...(tls.cert === undefined ? {} : { cert: tls.cert }),
        ...(tls.key === undefined ? {} : { key: tls.key }),
        ...(tls.version === undefined ? {} : { minVersion: tls.version, maxVersion: tls.version }),
        ...(tls.ciphers !== undefined ? { ciphers: tls.ciphers } : psk === undefined ? {} : { ciphers: PSK_CIPHERS }),
      }),
    };
  const options: ConnectionOptions & { highWaterMark: number; onread: OnRead } = {
    host,
    port,
    secureContext: shared.context,
    highWaterMark: 1,
    onread,
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(tls.insecure ? { rejectUnauthorized: false } : {}),
    ...(psk === undefined
      ? {}
      : {
          pskCallback: () => ({ identity: psk.identity, psk: Buffer.from(psk.key, 'hex') }),
          checkServerIdentity: () => undefined,
        }),
  };
  return connectTls(options);
}

const PSK_CIPHERS = 'TLS_AES_128_GCM_SHA256:PSK';

function describeSocketError(error: NodeJS.ErrnoException, host: string, port: number): string {
  const target = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  switch (error.code) {
    case 'ECONNREFUSED':
      return `nothing listens on ${target} (connection refused)`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `host ${host} is not known (${error.code})`;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return `${target} cannot be reached (${error.code})`;
    case 'EMFILE':
    case 'ENFILE':
      return 'this process may not open more files: raise `ulimit -n`';
    case 'EADDRNOTAVAIL':
      return `no free local port towards ${target}`;
    default:
      return `the connection to ${target} broke (${error.code ?? error.message})`;
  }
}

const RETURN_CODES: Record<number, string> = {
  1: 'unacceptable protocol version',
  2: 'client identifier rejected',
  3: 'server unavailable',
  4: 'bad user name or password',
  5: 'not authorized',
  132: 'unsupported protocol version',
  133: 'client identifier not valid',
  134: 'bad user name or password',
  135: 'not authorized',
  136: 'server unavailable',
  137: 'server busy',
  138: 'banned',
  151: 'quota exceeded',
  159: 'connection rate exceeded',
};

function describeReturnCode(code: number): string {
  const words = RETURN_CODES[code];
  return `code 0x${code.toString(16).padStart(2, '0')}${words === undefined ? '' : ` (${words})`}`;
}
