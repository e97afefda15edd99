/** Settings of a listener that say more about its clients than where it listens. */
import { boolean, integer, text } from './setting.js';

const apply = 'restart';
const bytesOf = (value: string) => Buffer.byteLength(value);
const printable = (value: string) => !/[\u0000-\u001f\u007f]/.test(value);
const number = (sentence: string, maximum: number) =>
  integer({ sentence, apply, minimum: 0, maximum, defaultText: 'that of all listeners', optional: true });

export const listenerClientFields = {
  emptyClientIds: boolean({
    sentence: 'Whether clients may leave their client identifier to the broker.',
    apply: 'reconnect',
    default: true,
  }),
  clientIdPrefix: text({
    sentence: 'What client identifiers that the broker chooses begin with.',
    apply: 'reconnect',
    allowed: 'text of at most 64 bytes without control characters, `/`, `+` and `#`',
    check: (value) => bytesOf(value) <= 64 && printable(value) && !/[/+#]/.test(value),
    default: 'auto-',
  }),
  usernameAsClientId: boolean({
    sentence: 'Whether the user name replaces the client identifier; clients without one are refused.',
    apply: 'reconnect',
    default: false,
  }),
  maximumQoS: number('Highest QoS that its clients may publish with, where it is lower than `protocol.maximumQoS`.', 2),
  topicAliasMaximum: number(
    'Topic aliases that one of its clients may set, instead of `limits.topicAliasMaximum`.',
    65535,
  ),
  topicAliasMaximumToClients: number(
    'Topic aliases that the broker sets towards one of its clients, instead of `limits.topicAliasMaximumToClients`.',
    65535,
  ),
} as const;

export const listenerPlaceFields = {
  interface: text({
    sentence: 'Network interface, such as `eth0`, on whose addresses it listens instead of `host`.',
    apply,
    allowed: 'name of a network interface',
    check: (value) => /^[A-Za-z0-9_.:@-]{1,64}$/.test(value),
    optional: true,
  }),
  ipv6Only: boolean({
    sentence: 'Whether a listener on `::` leaves IPv4 alone, and one on an `interface` too.',
    apply,
    default: false,
  }),
  httpFolder: text({
    sentence:
      'Folder whose files are served over HTTP beside MQTT, such as a web page that connects here. Only with protocols `ws` and `wss`.',
    apply,
    allowed: 'path of a folder',
    check: (value) => value !== '' && bytesOf(value) <= 4096 && printable(value),
    optional: true,
  }),
  proxyTls: boolean({
    sentence:
      'Whether clients have to have come to the proxy over TLS, as its header says. Only with `proxyProtocol` `v2`.',
    apply,
    default: false,
  }),
} as const;
