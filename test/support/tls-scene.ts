/** A TLS listener without a broker: what it handed up, what it logged, and clients that shake hands with it. */
import { once } from 'node:events';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { LogFields, Logger } from '../../src/base/index.js';
import { ListenerTls, type ListenerTlsOptions, type TlsSettings } from '../../src/certificates/index.js';
import { type ByteStream, type Listener, listenTls, type TlsListenOptions } from '../../src/transport/index.js';

export const tlsDefaults: TlsSettings = {
  keystoreType: 'auto',
  versionMin: 'TLSv1.2',
  versionMax: 'TLSv1.3',
  ciphers: '',
  cipherSuites: '',
  servers: [],
  sessionTickets: true,
  clientCertificate: 'off',
  clientCa: [],
  trustSystemStore: false,
  crl: [],
  crlExpired: 'refuse',
  ocsp: 'off',
  ocspTimeoutSeconds: 5,
  ocspStapling: false,
  psk: { identities: [], hint: '' },
  alpn: [],
  reloadOnChange: false,
};

export interface LogLine {
  readonly event: string;
  readonly sentence: string;
  readonly fields: LogFields;
}

export function recordingLogger(): { log: Logger; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const write = (event: string, sentence: string, fields: LogFields = {}) =>
    void lines.push({ event, sentence, fields });
  return { log: { level: 3, error: write, warning: write, information: write, debug: write }, lines };
}

/** How an attempt ended: handed up by the listener, or refused for the reason that it logged. */
export type Outcome = { stream: ByteStream; client: TLSSocket } | { refusal: string };

export class TlsScene {
  readonly streams: ByteStream[] = [];
  readonly lines: LogLine[];
  failures = 0;
  private readonly clients: TLSSocket[] = [];

  private constructor(
    readonly tls: ListenerTls,
    readonly listener: Listener,
    recorded: { lines: LogLine[]; streams: ByteStream[] },
  ) {
    this.lines = recorded.lines;
    this.streams = recorded.streams;
  }

  static async start(
    settings: Partial<TlsSettings>,
    more: Partial<Omit<ListenerTlsOptions, 'settings'> & TlsListenOptions> = {},
  ): Promise<TlsScene> {
    const { log, lines } = recordingLogger();
    const streams: ByteStream[] = [];
    const tls = new ListenerTls({
      name: 'test',
      where: 'tls',
      log,
      ...more,
      settings: { ...tlsDefaults, ...settings },
    });
    const listener = await listenTls({
      name: 'test',
      host: '127.0.0.1',
      port: 0,
      handshakeTimeoutMs: 20_000,
      ...more,
      tls,
      log,
      onHandshakeFailed: () => {
        scene.failures++;
      },
      onStream: (stream) => {
        streams.push(stream);
        // What ends the connection is no matter here.
        stream.start({ onBytes: () => {}, onWritten: () => {}, onClosed: () => {} });
        stream.write(Buffer.from('!'));
      },
    });
    const scene = new TlsScene(tls, listener, { lines, streams });
    return scene;
  }

  get port(): number {
    return (this.listener.bound as { port: number }).port;
  }

  dial(options: ConnectionOptions = {}): TLSSocket {
    const client = connect({ port: this.port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    client.on('error', () => {});
    this.clients.push(client);
    return client;
  }

  /** Shakes hands and waits until the listener has decided. */
  readonly try = async (options: ConnectionOptions = {}): Promise<Outcome> => {
    const { length } = this.lines;
    const before = this.streams.length;
    const client = this.dial(options);
    const ended = new Promise<void>((resolve) => client.once('close', () => resolve()));
    await Promise.race([once(client, 'data').catch(() => {}), ended]);
    const stream = this.streams[before];
    if (stream !== undefined) return { stream, client };
    await ended;
    for (;;) {
      const line = this.lines.slice(length).find(({ event }) => event === 'connection.tls-failed');
      if (line !== undefined) return { refusal: line.sentence.replace('Refused in the TLS handshake: ', '') };
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };

  async stop(): Promise<void> {
    for (const client of this.clients) client.destroy();
    for (const stream of this.streams) stream.destroy();
    this.tls.stop();
    await this.listener.close();
  }
}

export function admitted(outcome: Outcome): { stream: ByteStream; client: TLSSocket } {
  if ('refusal' in outcome) throw new Error(`refused: ${outcome.refusal}`);
  return outcome;
}
