/**
 * The PROXY protocol: a load balancer tells, ahead of the first byte, who is really connecting.
 *
 *   v1   PROXY TCP4 192.0.2.1 198.51.100.7 56324 1883 CR LF               at most 107 bytes
 *   v2   12 bytes signature | version, command | family | length (2) | addresses, then TLVs (only that of TLS is read)
 *
 * Source   haproxy.org, proxy-protocol.txt, sections 2.1 and 2.2.
 * Refuses  connections without the header: on a listener that expects it everybody else is a stranger or a forger.
 */

import { isIPv4, isIPv6 } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from '../base/index.js';
import type { AcceptStream, ByteSink, ByteStream, PeerAddress } from './byte-stream.js';
import { canonicalAddress } from './peer-address.js';

export type ProxyVersions = 'v1' | 'v2' | 'any';

export interface ProxyHeader {
  /** Bytes of the header; what follows belongs to the client. */
  readonly length: number;
  /** Undefined when the proxy speaks for itself (LOCAL) or does not know (UNKNOWN): the socket's own addresses count. */
  readonly peer: PeerAddress | undefined;
  /** Whether v2 says that the client came to the proxy over TLS. */
  readonly tls?: true;
}

const V1_BYTES_MAX = 107;
const V2_BYTES_MAX = 16 + 4096;
const v1Start = Buffer.from('PROXY ');
const v2Start = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);

/** Reads the header at `bytes[start..end)`. An Error says what is wrong, for the log. */
export function parseProxyHeader(
  bytes: Buffer,
  start: number,
  end: number,
  accept: ProxyVersions,
): ProxyHeader | 'needMore' | Error {
  const given = bytes.subarray(start, end);
  if (accept !== 'v2' && beginsWith(given, v1Start)) return given.length < v1Start.length ? 'needMore' : parseV1(given);
  if (accept !== 'v1' && beginsWith(given, v2Start)) return given.length < 16 ? 'needMore' : parseV2(given);
  return new Error(
    `the connection does not begin with a PROXY protocol header (${accept === 'any' ? 'v1 or v2' : accept})`,
  );
}

/** Whether `given` agrees with `start` as far as both go. */
function beginsWith(given: Buffer, start: Buffer): boolean {
  const common = Math.min(given.length, start.length);
  return given.compare(start, 0, common, 0, common) === 0;
}

function parseV1(given: Buffer): ProxyHeader | 'needMore' | Error {
  const end = given.subarray(0, V1_BYTES_MAX).indexOf('\r\n');
  if (end < 0)
    return given.length < V1_BYTES_MAX ? 'needMore' : new Error('PROXY v1 header without line end in 107 bytes');
  const line = given.toString('latin1', 0, end);
  const length = end + 2;
  const [, family, ...rest] = line.split(' ');
  if (family === 'UNKNOWN') return { length, peer: undefined };
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : undefined;
  if (isAddress === undefined)
    return new Error('PROXY v1 header with an unknown family; known are TCP4, TCP6, UNKNOWN');
  const [source = '', destination = '', sourcePort = '', destinationPort = ''] = rest;
  if (rest.length !== 4 || !isAddress(source) || !isAddress(destination))
    return new Error(`PROXY v1 header without two ${family} addresses`);
  const port = parsePort(sourcePort);
  const localPort = parsePort(destinationPort);
  if (port === undefined || localPort === undefined) return new Error('PROXY v1 header without two port numbers');
  return {
    length,
    peer: { address: canonicalAddress(source), port, localAddress: canonicalAddress(destination), localPort },
  };
}

function parsePort(text: string): number | undefined {
  const port = /^(0|[1-9]\d{0,4})$/.test(text) ? Number(text) : 65536;
  return port <= 65535 ? port : undefined;
}

function parseV2(given: Buffer): ProxyHeader | 'needMore' | Error {
  const version = given[12]! >> 4;
  const command = given[12]! & 0x0f;
  const family = given[13]!;
  const length = 16 + given.readUInt16BE(14);
  if (version !== 2) return new Error(`PROXY v2 header with version ${version}`);
  if (command > 1) return new Error(`PROXY v2 header with unknown command ${command}`);
  if (length > V2_BYTES_MAX) return new Error(`PROXY v2 header of ${length} bytes; at most ${V2_BYTES_MAX} are taken`);
  if (given.length < length) return 'needMore';
  if (command === 0 || family === 0x00) return { length, peer: undefined };
  if (family === 0x31)
    return {
      length,
      peer: { address: '', port: 0, localAddress: '', localPort: 0 },
      ...tlsOf(given, 16 + UNIX_ADDRESSES_BYTES, length),
    };
  const width = family === 0x11 ? 4 : family === 0x21 ? 16 : undefined;
  if (width === undefined)
    return new Error(
      `PROXY v2 header with family and protocol 0x${family.toString(16).padStart(2, '0')}; only streams can be taken`,
    );
  if (length < 16 + 2 * width + 4) return new Error('PROXY v2 header too short for its addresses');
  const ports = 16 + 2 * width;
  return {
    length,
    peer: {
      address: formatAddress(given.subarray(16, 16 + width)),
      port: given.readUInt16BE(ports),
      localAddress: formatAddress(given.subarray(16 + width, ports)),
      localPort: given.readUInt16BE(ports + 2),
    },
    ...tlsOf(given, ports + 4, length),
  };
}

const UNIX_ADDRESSES_BYTES = 216;
const TYPE_SSL = 0x20;
const CLIENT_SSL = 0x01;

/** Looks for PP2_TYPE_SSL among the TLVs: type (1), length (2), then a byte with what the client used. */
function tlsOf(given: Buffer, start: number, end: number): { tls?: true } {
  for (let at = start; at + 3 <= end; at += 3 + given.readUInt16BE(at + 1))
    if (given[at] === TYPE_SSL && given.readUInt16BE(at + 1) >= 1 && at + 4 <= end)
      return (given[at + 3]! & CLIENT_SSL) !== 0 ? { tls: true } : {};
  return {};
}

function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return canonicalAddress(groups.join(':'));
}

/** Gathers bytes until the header is complete. */
class HeaderReader {
  private gathered: Buffer = Buffer.alloc(0);

  constructor(
    private readonly accept: ProxyVersions,
    private readonly requireTls: boolean,
  ) {}

  /** The header and a copy of what followed it, undefined while more is needed. */
  take(bytes: Buffer, start: number, end: number): { peer: PeerAddress | undefined; rest: Buffer } | Error | undefined {
    this.gathered = Buffer.concat([this.gathered, bytes.subarray(start, end)]);
    const header = parseProxyHeader(this.gathered, 0, this.gathered.length, this.accept);
    if (header === 'needMore') return undefined;
    if (header instanceof Error) return header;
    if (this.requireTls && header.tls !== true)
      return new Error('the PROXY protocol header does not say that TLS was used');
    return { peer: header.peer, rest: this.gathered.subarray(header.length) };
  }
}

export interface ProxyOptions {
  /** Name of the listener, for the log. */
  readonly name: string;
  readonly accept: ProxyVersions;
  /** Whether only clients are taken that came to the proxy over TLS; needs v2. */
  readonly requireTls?: boolean | undefined;
  /** How long the header may take. */
  readonly timeoutMs: number;
  readonly log: Logger;
  /** Counts connections that are refused. */
  readonly onRefused?: (() => void) | undefined;
}

function refuse({ name, log, onRefused }: ProxyOptions, peer: PeerAddress, sentence: string): void {
  onRefused?.();
  log.warning('connection.refused', `Closed a connection: ${sentence}.`, {
    listener: name,
    address: peer.address,
    port: peer.port,
  });
}

/**
 * Consumes the header of an accepted stream, then hands the stream up with the address the header tells. `onGone` is told when the stream is
 * closed, handed up or not.
 */
export function acceptProxied(
  inner: ByteStream,
  options: ProxyOptions,
  onStream: AcceptStream,
  onGone: () => void = () => {},
): void {
  inner.start(new ProxiedStream(inner, options, onStream, onGone));
}

class ProxiedStream implements ByteStream, ByteSink {
  peer: PeerAddress;
  private reader: HeaderReader | undefined;
  private sink: ByteSink | undefined;
  /** Bytes that came together with the header and wait for `start` or `resume`. */
  private held: Buffer | undefined;
  private paused = true;
  private ending = false;
  private closed = false;
  private failure: Error | undefined;
  private readonly deadline: NodeJS.Timeout;

  constructor(
    private readonly inner: ByteStream,
    private readonly options: ProxyOptions,
    private readonly onStream: AcceptStream,
    private readonly onGone: () => void,
  ) {
    this.peer = inner.peer;
    this.reader = new HeaderReader(options.accept, options.requireTls ?? false);
    this.deadline = setTimeout(
      () => this.refuse('its PROXY protocol header did not come in time'),
      options.timeoutMs,
    ).unref();
  }

  start(sink: ByteSink): void {
    this.sink = sink;
    if (this.closed) process.nextTick(() => sink.onClosed(this.failure));
    else this.resume();
  }

  write(chunk: Uint8Array): boolean {
    return this.inner.write(chunk);
  }

  writeMany(chunks: Uint8Array[]): boolean {
    return this.inner.writeMany(chunks);
  }

  pause(): void {
    this.paused = true;
    this.inner.pause();
  }

  resume(): void {
    this.paused = false;
    if (this.held === undefined) this.inner.resume();
    else process.nextTick(() => this.release());
  }

  end(): void {
    this.ending = true;
    this.inner.end();
  }

  destroy(): void {
    this.inner.destroy();
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    if (this.reader === undefined) {
      this.sink?.onBytes(bytes, start, end);
      return;
    }
    const header = this.reader.take(bytes, start, end);
    if (header === undefined) return;
    if (header instanceof Error) {
      this.refuse(header.message);
      return;
    }
    clearTimeout(this.deadline);
    this.reader = undefined;
    this.peer = header.peer ?? this.peer;
    if (header.rest.length > 0) this.held = header.rest;
    this.inner.pause();
    this.onStream(this);
  }

  onWritten(): void {
    this.sink?.onWritten();
  }

  onClosed(error?: Error): void {
    clearTimeout(this.deadline);
    this.closed = true;
    this.failure = error;
    this.onGone();
    this.sink?.onClosed(error);
  }

  private release(): void {
    const bytes = this.held;
    if (bytes === undefined || this.paused || this.closed || this.ending) return;
    this.held = undefined;
    this.sink?.onBytes(bytes, 0, bytes.length);
    if (!this.paused) this.inner.resume();
  }

  private refuse(sentence: string): void {
    if (this.closed) return;
    clearTimeout(this.deadline);
    refuse(this.options, this.inner.peer, sentence);
    this.inner.destroy();
  }
}

/**
 * As `acceptProxied`, for a Node socket that something else (an HTTP server) goes on to read.
 *
 * `done` is called with the address the header tells; it is not called when the header is refused, which closes the socket.
 */
export function consumeProxyHeader(
  socket: Duplex,
  socketPeer: PeerAddress,
  options: ProxyOptions,
  done: (peer: PeerAddress) => void,
): void {
  const reader = new HeaderReader(options.accept, options.requireTls ?? false);
  const finish = () => {
    clearTimeout(deadline);
    socket.off('readable', onReadable);
    socket.off('end', onEnd);
    socket.off('close', finish);
  };
  const fail = (sentence: string) => {
    finish();
    refuse(options, socketPeer, sentence);
    socket.destroy();
  };
  // An HTTP server leaves its own half open.
  const onEnd = () => void socket.destroy();
  const onReadable = () => {
    const bytes = socket.read() as Buffer | null;
    if (bytes === null) return;
    const header = reader.take(bytes, 0, bytes.length);
    if (header === undefined) return;
    if (header instanceof Error) {
      fail(header.message);
      return;
    }
    finish();
    if (header.rest.length > 0) socket.unshift(header.rest);
    done(header.peer ?? socketPeer);
  };
  const deadline = setTimeout(() => fail('its PROXY protocol header did not come in time'), options.timeoutMs).unref();
  socket.on('error', () => {}); // the close that follows is all that matters here
  socket.on('close', finish);
  socket.on('end', onEnd);
  socket.on('readable', onReadable);
}
