/** A broker of its own for one test, in this process on a free port of loopback, and the wire clients around it. */
import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { type Broker, type BrokerOptions, createBroker } from '../../src/index.js';
import type { ProtocolVersion } from '../../src/protocol/index.js';
import { unhurried } from './unhurried.js';
import { type ConnectOptions, PATIENCE_MS, WireClient } from './wire-client.js';

/** Its helpers are bound, so that a test can take them apart: `async ({ connect, drop }) => …`. */
export class Scene {
  readonly broker: Broker;
  private readonly clients: WireClient[] = [];
  private count = 0;

  constructor(
    readonly version: ProtocolVersion,
    options: BrokerOptions = {},
  ) {
    this.broker = createBroker({
      ...options,
      config: unhurried({
        listeners: [{ name: 'test', port: 0 }],
        sys: { intervalSeconds: 0 },
        ...(options.config as object | undefined),
      }),
    });
  }

  start(): Promise<void> {
    return this.broker.start();
  }

  async stop(): Promise<void> {
    for (const client of this.clients) client.stream.destroy();
    await this.broker.stop();
  }

  get port(): number {
    return this.broker.listeners[0]!.port!;
  }

  /** A connection on which nothing was sent yet. */
  readonly open = async (version: ProtocolVersion = this.version): Promise<WireClient> => {
    const socket = connectSocket({ port: this.port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const client = new WireClient(socket, version);
    this.clients.push(client);
    return client;
  };

  /** A connected client; a client identifier of its own unless one is given. */
  readonly connect = async (options: ConnectOptions & { version?: ProtocolVersion } = {}): Promise<WireClient> => {
    const { version = this.version, ...rest } = options;
    const client = await this.open(version);
    await client.connect({ clientId: `client-${++this.count}`, ...rest });
    return client;
  };

  /**
   * Options of a CONNECT whose session outlives its connection: Clean Session 0 in 3.x, an expiry interval in 5.0.
   */
  readonly kept = (clientId: string, more: ConnectOptions = {}): ConnectOptions => {
    if (this.version < 5) return { clientId, cleanStart: false, ...more };
    return { clientId, cleanStart: false, ...more, properties: { sessionExpiryInterval: 3600, ...more.properties } };
  };

  /** Breaks the connection as a failing network would; resolves when the broker has noticed. */
  readonly drop = async (client: WireClient): Promise<void> => {
    const noticed = this.gone(client);
    client.stream.destroy();
    await noticed;
  };

  /** Sends `goodbye` (an empty DISCONNECT by default); resolves when the broker has let the client go. */
  readonly leave = async (client: WireClient, goodbye = 'e000'): Promise<void> => {
    const noticed = this.gone(client);
    client.send(goodbye);
    await noticed;
    await client.closed();
  };

  /** Resolves when the broker says that the client's connection has ended. */
  readonly gone = (client: WireClient): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the broker still has ${client.clientId}`)), PATIENCE_MS);
      const stop = this.broker.on('clientDisconnected', (event) => {
        if (event.client.clientId !== client.clientId) return;
        clearTimeout(timer);
        stop();
        resolve();
      });
    });
}
