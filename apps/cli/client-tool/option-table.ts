/**
 * Every option of pub, sub, rr and ctrl: its names, which tools take it, its values, what it sets, and its line of help.
 */
import {
  isValidTopicFilter,
  isValidTopicName,
  type ProtocolVersion,
  parseSharedFilter,
  type QoS,
} from '../../../src/protocol/index.js';
import { type MessageSource, type ToolName, type ToolOptions, UsageError } from './tool-options.js';
import { applyUrl, parseProxy } from './url-argument.js';

export interface OptionDefinition {
  readonly names: readonly string[];
  readonly tools: readonly ToolName[];
  /** what stands for the value in help; none for a flag */
  readonly value?: string;
  readonly help: string;
  apply(options: ToolOptions, value: string, name: string): void;
}

const all: readonly ToolName[] = ['pub', 'sub', 'rr', 'ctrl'];
const sending: readonly ToolName[] = ['pub', 'rr'];
const receiving: readonly ToolName[] = ['sub', 'rr'];
const pub: readonly ToolName[] = ['pub'];
const sub: readonly ToolName[] = ['sub'];
const rr: readonly ToolName[] = ['rr'];

function flag(
  names: string,
  tools: readonly ToolName[],
  help: string,
  apply: (options: ToolOptions) => void,
): OptionDefinition {
  return { names: names.split(' '), tools, help, apply };
}

function option(
  names: string,
  value: string,
  tools: readonly ToolName[],
  help: string,
  apply: (options: ToolOptions, value: string, name: string) => void,
): OptionDefinition {
  return { names: names.split(' '), tools, value, help, apply };
}

function refused(names: string, value: string, reason: string): OptionDefinition {
  return option(names, value, all, `refused: ${reason}`, (_options, _value, name) => {
    throw new UsageError(`${name} cannot be honoured: ${reason}.`);
  });
}

export const optionTable: readonly OptionDefinition[] = [
  option('-h --host', 'HOST', all, 'server to connect to; localhost when not given', (o, v) => {
    o.host = v;
  }),
  option('-p --port', 'PORT', all, 'its port; 1883, or 8883 with TLS, when not given', (o, v) => {
    o.port = number(v, 1, 65_535, 'port');
  }),
  option(
    '-L --url',
    'URL',
    all,
    'mqtt(s)://[username[:password]@]host[:port]/topic in one; ws:// and wss:// as well',
    applyUrl,
  ),
  option('--ws-path', 'PATH', all, 'path of the WebSocket at such a URL; /mqtt when not given', (o, v) => {
    if (!/^\/[^?#\s]*$/.test(v)) throw new UsageError(`--ws-path ${v} is not a path that begins with /.`);
    o.webSocketPath = v;
  }),
  option('--unix', 'PATH', all, 'connects to a Unix socket instead', (o, v) => {
    o.unixPath = v;
  }),
  option('-A', 'ADDRESS', all, 'address or name of this machine to connect from', (o, v) => {
    o.bindAddress = v;
  }),
  flag('-S', all, 'finds the server by its DNS service record, _mqtt._tcp.HOST', (o) => {
    o.serviceLookup = true;
  }),
  flag('--nodelay', all, 'sends small packets at once (TCP_NODELAY)', (o) => {
    o.noDelay = true;
  }),
  option('--proxy', 'URL', all, 'connects through socks5h://[username[:password]@]host[:port]', (o, v) => {
    o.proxy = parseProxy(v);
  }),
  option(
    '-V --protocol-version',
    'VERSION',
    all,
    '5, 311 or 31 (mqttv5, mqttv311, mqttv31); 311 when not given, 5 for rr and ctrl',
    (o, v) => {
      o.protocolVersion = version(v);
    },
  ),
  option('-i --id', 'ID', all, 'client identifier', (o, v) => {
    o.clientId = v;
  }),
  option('-I --id-prefix', 'PREFIX', all, 'client identifier made of this and the process id', (o, v) => {
    o.clientIdPrefix = v;
  }),
  flag('-c --disable-clean-session', all, 'keeps the session on the server; needs -i', (o) => {
    o.keepSession = true;
  }),
  option(
    '-x --session-expiry-interval',
    'SECONDS',
    all,
    'how long the server keeps the session (5.0); -1 or ∞ for ever',
    (o, v) => {
      o.sessionExpiryInterval =
        v === '-1' || v === '∞' ? 0xffff_ffff : number(v, 0, 0xffff_ffff, 'session expiry interval');
    },
  ),
  option('-k --keepalive', 'SECONDS', all, 'keep alive, 5 to 65535; 60 when not given', (o, v) => {
    o.keepAlive = number(v, 5, 65_535, 'keepalive');
  }),
  option('-u --username', 'NAME', all, 'user name', (o, v) => {
    o.username = v;
  }),
  option('-P --pw', 'PASSWORD', all, 'password', (o, v) => {
    o.password = v;
  }),
  option('-q --qos', 'QOS', all, 'quality of service, 0, 1 or 2; 0 when not given, 1 for ctrl', (o, v) => {
    o.qos = number(v, 0, 2, 'QoS') as QoS;
  }),
  option('-t --topic', 'TOPIC', sending, 'topic to publish to', (o, v) => {
    if (!isValidTopicName(v)) throw new UsageError(`Invalid publish topic '${v}', does it contain '+' or '#'?`);
    o.topics = [v];
  }),
  option('-t --topic', 'TOPIC', sub, 'topic filter to subscribe to; may be repeated', (o, v) => {
    o.topics.push(topicFilter(v, 'subscription'));
  }),
  option('-e --response-topic', 'TOPIC', rr, 'topic to wait on for the response', (o, v) => {
    if (!isValidTopicName(v)) throw new UsageError(`Invalid response topic '${v}', does it contain '+' or '#'?`);
    o.responseTopic = v;
  }),

  option('-m --message', 'TEXT', sending, 'message to send', (o, v) => {
    setSource(o, { kind: 'text', text: v });
  }),
  option('-f --file', 'FILE', sending, 'sends the contents of a file', (o, v) => {
    setSource(o, { kind: 'file', path: v });
  }),
  flag('-n --null-message', sending, 'sends an empty message', (o) => {
    setSource(o, { kind: 'empty' });
  }),
  flag('-s --stdin-file', sending, 'sends all of standard input as one message', (o) => {
    setSource(o, { kind: 'standardInput' });
  }),
  flag('-l --stdin-line', pub, 'sends each line of standard input as a message', (o) => {
    setSource(o, { kind: 'lines' });
  }),
  flag('-r --retain', pub, 'has the server keep the message for later subscribers', (o) => {
    o.retain = true;
  }),
  option('--repeat', 'COUNT', pub, 'sends the message so many times', (o, v) => {
    o.repeatCount = number(v, 1, Number.MAX_SAFE_INTEGER, '--repeat argument');
  }),
  option('--repeat-delay', 'SECONDS', pub, 'waits between repeats; fractions are allowed', (o, v) => {
    o.repeatDelaySeconds = decimal(v, 0, 2_000_000, '--repeat-delay argument');
  }),
  option('-M', 'COUNT', pub, 'messages at QoS 1 and 2 in flight at most', (o, v) => {
    o.inflightMax = number(v, 1, 65_535, 'maximum of inflight messages');
  }),

  flag('-v --verbose', receiving, 'prints the topic before each message', (o) => {
    o.verbose = true;
  }),
  option('-F', 'FORMAT', receiving, 'prints messages by a format, see below', (o, v) => {
    o.format = v;
  }),
  flag('-N', receiving, 'no line feed after each message', (o) => {
    o.lineFeed = false;
  }),
  flag('--pretty', receiving, 'JSON over several lines', (o) => {
    o.pretty = true;
  }),
  flag('-R', receiving, 'does not print retained messages', (o) => {
    o.noRetained = true;
  }),
  option('-W', 'SECONDS', receiving, 'gives up after so long, with exit code 27', (o, v) => {
    o.timeoutSeconds = number(v, 1, 2_000_000, 'timeout');
  }),
  option('-C', 'COUNT', sub, 'exits after so many messages', (o, v) => {
    o.messageCountMax = number(v, 1, Number.MAX_SAFE_INTEGER, 'message count');
  }),
  flag('-E', sub, 'exits once the server has answered the subscriptions', (o) => {
    o.exitWhenSubscribed = true;
  }),
  option('-T --filter-out', 'FILTER', sub, 'does not print topics that match; may be repeated', (o, v) => {
    o.filterOut.push(topicFilter(v, 'filter'));
  }),
  option('-U --unsubscribe', 'FILTER', sub, 'unsubscribes; may be repeated', (o, v) => {
    o.unsubscribe.push(topicFilter(v, 'unsubscribe'));
  }),
  flag('--retained-only', sub, 'exits at the first message that is not retained', (o) => {
    o.retainedOnly = true;
  }),
  flag('--remove-retained', sub, 'clears retained messages that arrive', (o) => {
    o.removeRetained = true;
  }),
  flag('--retain-as-published', sub, "keeps the publisher's retain flag (5.0)", (o) => {
    o.retainAsPublished = true;
  }),
  option('--random-filter', 'CHANCE', sub, 'prints this percentage of messages, 0.1 to 100', (o, v) => {
    o.randomFilter = decimal(v, 0.1, 100, '--random-filter chance');
  }),

  option('--will-topic', 'TOPIC', all, 'topic of the will', (o, v) => {
    if (!isValidTopicName(v)) throw new UsageError(`Invalid will topic '${v}', does it contain '+' or '#'?`);
    o.will.topicName = v;
  }),
  option('--will-payload', 'TEXT', all, 'its message; empty when not given', (o, v) => {
    o.will.payload = v;
  }),
  option('--will-qos', 'QOS', all, 'its quality of service', (o, v) => {
    o.will.qos = number(v, 0, 2, 'will QoS') as QoS;
  }),
  flag('--will-retain', all, 'has the server keep it', (o) => {
    o.will.retain = true;
  }),

  option('--cafile', 'FILE', all, 'certificates of authorities to trust (PEM); switches TLS on', (o, v) => {
    o.tls.cafile = v;
  }),
  option('--capath', 'FOLDER', all, 'folder of such files; switches TLS on', (o, v) => {
    o.tls.capath = v;
  }),
  flag('--tls-use-os-certs', all, "trusts the system's authorities; switches TLS on", (o) => {
    o.tls.systemCertificates = true;
  }),
  option('--cert', 'FILE', all, "the client's certificate (PEM)", (o, v) => {
    o.tls.cert = v;
  }),
  option('--key', 'FILE', all, 'its private key (PEM)', (o, v) => {
    o.tls.key = v;
  }),
  option('--keyform', 'FORM', all, 'form of --key: pem', (_o, v) => {
    if (v !== 'pem') throw new UsageError(`--keyform ${v} cannot be honoured: keys are read from PEM files only.`);
  }),
  refused('--tls-engine', 'ENGINE', 'OpenSSL engines are not supported'),
  refused('--tls-engine-kpass-sha1', 'HASH', 'OpenSSL engines are not supported'),
  option('--ciphers', 'LIST', all, 'TLS ciphers as OpenSSL writes them', (o, v) => {
    o.tls.ciphers = v;
  }),
  option('--tls-version', 'VERSION', all, 'oldest TLS version used: tlsv1.3, tlsv1.2 or tlsv1.1', (o, v) => {
    if (!/^tlsv1\.[123]$/.test(v)) throw new UsageError(`Invalid TLS version '${v}', use tlsv1.3, tlsv1.2 or tlsv1.1.`);
    o.tls.version = v;
  }),
  option('--tls-alpn', 'PROTOCOL', all, 'protocol to ask for at a port that serves several', (o, v) => {
    o.tls.alpn = v;
  }),
  flag('--insecure', all, "does not check the host name in the server's certificate", (o) => {
    o.tls.insecure = true;
  }),
  option('--psk', 'HEX', all, 'pre-shared key for TLS-PSK', (o, v) => {
    if (!/^([0-9a-fA-F]{2})+$/.test(v)) throw new UsageError('--psk must be an even number of hexadecimal digits.');
    o.tls.psk = v;
  }),
  option('--psk-identity', 'NAME', all, 'identity for TLS-PSK', (o, v) => {
    o.tls.pskIdentity = v;
  }),

  flag('-d --debug', all, 'prints every packet', (o) => {
    o.debug = true;
  }),
  flag('--quiet', all, 'prints no errors at run time', (o) => {
    o.quiet = true;
  }),
];

function number(text: string, min: number, max: number, what: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `between ${min} and ${max}`;
  throw new UsageError(`Invalid ${what} given: ${text}. It must be a whole number, ${range}.`);
}

function decimal(text: string, min: number, max: number, what: string): number {
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`Invalid ${what} given: ${text}. It must be a number between ${min} and ${max}.`);
}

function version(text: string): ProtocolVersion {
  if (text === '5' || text === 'mqttv5') return 5;
  if (text === '311' || text === 'mqttv311') return 4;
  if (text === '31' || text === 'mqttv31') return 3;
  throw new UsageError(`Invalid protocol version argument given: ${text}. Use 5, 311 or 31.`);
}

function topicFilter(filter: string, what: string): string {
  const shared = what === 'filter' ? undefined : parseSharedFilter(filter);
  if (shared !== 'invalid' && (shared !== undefined || isValidTopicFilter(filter))) return filter;
  throw new UsageError(`Invalid ${what} topic '${filter}', are all '+' and '#' wildcards correct?`);
}

function setSource(options: ToolOptions, source: MessageSource): void {
  if (options.source !== undefined) throw new UsageError('Only one type of message can be sent at once.');
  options.source = source;
}
