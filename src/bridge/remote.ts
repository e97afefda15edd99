/** Opens the connection to a remote: dial, CONNECT, CONNACK; and says in words why it could not. */
import type { ConnectionOptions } from 'node:tls';
import { dial } from '../client/index.js';
import { COMPRESSION } from '../connection/index.js';
import {
  type ConnackPacket,
  type ConnectPacket,
  PacketType,
  type ProtocolVersion,
  ReasonCode,
  reasonCodeOf,
  reasonName,
} from '../protocol/index.js';
import { CompressibleStream, NodeStream } from '../transport/index.js';
import { GreetedStream, NotAnswered } from './greeted-stream.js';
import { type BridgeOptions, protocolVersions, type RemoteAddress } from './options.js';

export interface OpenedRemote {
  readonly stream: GreetedStream;
  readonly connack: ConnackPacket;
}

/** The remote, or what lies before it, said no. `retryPlain`: perhaps only to the bridge bit. */
export class RemoteFailure extends Error {
  constructor(
    message: string,
    readonly retryPlain: boolean,
    /** of CONNACK; 0 when it did not get that far */
    readonly reasonCode = 0,
  ) {
    super(message);
  }
}

export interface DialTerms {
  readonly remote: RemoteAddress;
  readonly options: BridgeOptions;
  readonly clientId: string;
  /** The bridge bit of 3.x. */
  readonly asBridge: boolean;
  readonly tls: ConnectionOptions | undefined;
  readonly timeoutMs: number;
  readonly will: ConnectPacket['will'];
}

/** Errors: `RemoteFailure` with a sentence for people. An aborted `signal` ends the attempt. */
export async function openRemote(terms: DialTerms, signal: AbortSignal): Promise<OpenedRemote> {
  const { remote, options, tls, timeoutMs } = terms;
  const version = protocolVersions[options.protocolVersion];
  // Not AbortSignal.timeout() within AbortSignal.any(): nothing holds that, and once it is collected it never fires.
  const limit = new AbortController();
  const abort = (): void => limit.abort(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  const timer = setTimeout(() => limit.abort(), timeoutMs).unref();
  try {
    const target = {
      transport: 'tcp' as const,
      ...remote,
      noDelay: true,
      ...(options.bindAddress === undefined ? {} : { localAddress: options.bindAddress }),
      ...(tls === undefined ? {} : { tls }),
    };
    const stream = new GreetedStream(new CompressibleStream(new NodeStream(await dial(target, version, limit.signal))));
    const connack = await stream.greet(connectPacket(terms, version), limit.signal);
    if (connack.reasonCode === 0) {
      if (agreed(options, connack)) stream.compress();
      return { stream, connack };
    }
    stream.destroy();
    throw refusal(connack, version);
  } catch (error) {
    if (error instanceof RemoteFailure) throw error;
    if (limit.signal.aborted && !signal.aborted)
      throw new RemoteFailure(`no answer from the remote within ${timeoutMs / 1000} seconds`, false);
    throw new RemoteFailure(failureText(error), error instanceof NotAnswered);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

function connectPacket({ options, clientId, asBridge, will }: DialTerms, version: ProtocolVersion) {
  const packet: ConnectPacket = {
    type: PacketType.Connect,
    protocolVersion: version,
    bridge: asBridge,
    cleanStart: options.cleanSession,
    keepAlive: options.keepAliveSeconds,
    clientId,
  };
  if (options.username !== undefined) packet.username = options.username;
  if (options.password !== undefined) packet.password = Buffer.from(options.password);
  if (will !== undefined) packet.will = will;
  if (version !== 5) return packet;
  packet.properties = {
    sessionExpiryInterval: options.cleanSession ? 0 : options.sessionExpirySeconds,
    receiveMaximum: options.receiveMaximum,
    maximumPacketSize: options.packetBytesMax,
    ...(options.compression ? { userProperties: [[COMPRESSION, 'deflate']] } : {}),
    ...(options.topicAliasMaximum > 0 ? { topicAliasMaximum: options.topicAliasMaximum } : {}),
  };
  return packet;
}

function agreed({ compression }: BridgeOptions, { properties }: ConnackPacket): boolean {
  return compression && (properties?.userProperties?.some(([name]) => name === COMPRESSION) ?? false);
}

function refusal({ reasonCode, properties }: ConnackPacket, version: ProtocolVersion): RemoteFailure {
  const code = version === 5 ? reasonCode : reasonCodeOf(reasonCode);
  const words = properties?.reasonString === undefined ? '' : ` (${properties.reasonString})`;
  const unknownVersion = code === ReasonCode.UnsupportedProtocolVersion;
  const hint = unknownVersion ? '; another protocolVersion may be taken' : '';
  return new RemoteFailure(
    `the remote refused the connection: ${reasonName(code)}${words}${hint}`,
    unknownVersion || code === ReasonCode.ClientIdentifierNotValid,
    code,
  );
}

const systemTexts: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: nothing listens there',
  ECONNRESET: 'the connection was reset',
  ETIMEDOUT: 'the connection timed out',
  ENOTFOUND: 'the host does not exist',
  EAI_AGAIN: 'the host name cannot be looked up at present',
  EHOSTUNREACH: 'there is no route to the host',
  ENETUNREACH: 'the network is unreachable',
  EADDRNOTAVAIL: 'bindAddress is no address of this machine',
  CERT_HAS_EXPIRED: "the remote's certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the remote's certificate is self-signed and not trusted",
  SELF_SIGNED_CERT_IN_CHAIN: "the remote's certificate comes from an authority that is not trusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the remote's certificate comes from an authority that is not trusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the remote's certificate comes from an authority that is not trusted",
  ERR_TLS_CERT_ALTNAME_INVALID: "the remote's certificate is for another host name",
};

/** What went wrong below MQTT, in words. */
export function failureText(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return failureText(error.errors[0]);
  const { code, message } = error as NodeJS.ErrnoException;
  const words = code === undefined ? undefined : systemTexts[code];
  return words === undefined ? (message ?? String(error)) : `${words} (${code})`;
}
