/**
 * What the arguments of pub, sub and rr say, and those of ctrl before its module, before it is turned into a connection.
 */
import type { Properties, ProtocolVersion, QoS } from '../../../src/protocol/index.js';

export type ToolName = 'pub' | 'sub' | 'rr' | 'ctrl';

/** Packets that `-D` can give properties to. */
export type PropertyCommand =
  | 'connect'
  | 'publish'
  | 'puback'
  | 'pubrec'
  | 'pubrel'
  | 'pubcomp'
  | 'subscribe'
  | 'unsubscribe'
  | 'disconnect'
  | 'will';

export type MessageSource =
  | { kind: 'text'; text: string }
  | { kind: 'file'; path: string }
  | { kind: 'empty' }
  | { kind: 'standardInput' }
  | { kind: 'lines' };

export interface SocksUrl {
  host: string;
  port: number;
  username?: string;
  password?: string;
}

export interface ToolOptions {
  tool: ToolName;
  host?: string;
  port?: number;
  unixPath?: string;
  /** `ws:` or `wss:` was given */
  webSocket?: 'ws' | 'wss';
  webSocketPath: string;
  bindAddress?: string;
  serviceLookup: boolean;
  noDelay: boolean;
  proxy?: SocksUrl;
  protocolVersion?: ProtocolVersion;
  clientId?: string;
  clientIdPrefix?: string;
  keepSession: boolean;
  /** seconds; 0xffffffff never ends */
  sessionExpiryInterval?: number;
  keepAlive: number;
  username?: string;
  password?: string;
  qos: QoS;
  topics: string[];
  properties: Partial<Record<PropertyCommand, Properties>>;
  will: { topicName?: string; payload?: string; qos?: QoS; retain: boolean };
  debug: boolean;
  quiet: boolean;
  tls: {
    /** `mqtts:` or `wss:` was given */
    wanted: boolean;
    cafile?: string;
    capath?: string;
    systemCertificates: boolean;
    cert?: string;
    key?: string;
    ciphers?: string;
    version?: string;
    alpn?: string;
    insecure: boolean;
    psk?: string;
    pskIdentity?: string;
  };

  // pub and rr
  source?: MessageSource;
  retain: boolean;
  repeatCount: number;
  repeatDelaySeconds: number;
  inflightMax?: number;
  responseTopic?: string;

  // sub and rr
  format?: string;
  verbose: boolean;
  pretty: boolean;
  lineFeed: boolean;
  noRetained: boolean;
  timeoutSeconds?: number;
  messageCountMax?: number;
  exitWhenSubscribed: boolean;
  filterOut: string[];
  unsubscribe: string[];
  retainedOnly: boolean;
  removeRetained: boolean;
  retainAsPublished: boolean;
  /** per cent */
  randomFilter: number;
}

export function defaultOptions(tool: ToolName): ToolOptions {
  return {
    tool,
    webSocketPath: '/mqtt',
    serviceLookup: false,
    noDelay: false,
    keepSession: false,
    keepAlive: 60,
    qos: tool === 'ctrl' ? 1 : 0,
    topics: [],
    properties: {},
    will: { retain: false },
    debug: false,
    quiet: false,
    tls: { wanted: false, systemCertificates: false, insecure: false },
    retain: false,
    repeatCount: 1,
    repeatDelaySeconds: 0,
    verbose: false,
    pretty: false,
    lineFeed: true,
    noRetained: false,
    exitWhenSubscribed: false,
    filterOut: [],
    unsubscribe: [],
    retainedOnly: false,
    removeRetained: false,
    retainAsPublished: false,
    randomFilter: 100,
  };
}

/** The caller is wrong; the message is what to say. */
export class UsageError extends Error {}
