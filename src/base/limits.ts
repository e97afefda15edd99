/**
 * Every finite limit of a broker with its default, as one plain object that modules below the configuration can take.
 *
 * Shape    Numbers only, in the unit their name ends with. The configuration schema (`config/schema.ts`) adds range and sentence.
 * Refuses  to validate: whoever builds a `Limits` by hand vouches for its values; `config` checks those of users.
 */

/** What happens to a session's queue at `queueMessagesMax` or `queueBytesMax`. */
export const queueOverflowPolicies = ['dropOldest', 'dropNewest', 'dropQos0First', 'refuse'] as const;
export type QueueOverflow = (typeof queueOverflowPolicies)[number];

export interface Limits {
  /** Largest MQTT Control Packet taken from a client, fixed header included; told to 5.0 clients (v5 §3.2.2.3.6) */
  readonly packetBytesMax: number;
  /** Largest payload that is taken; 0 is no limit */
  readonly payloadBytesMax: number;
  /** Messages waiting in one session, those in flight not counted */
  readonly queueMessagesMax: number;
  /** Bytes (topic name and payload) waiting in one session */
  readonly queueBytesMax: number;
  readonly queueOverflow: QueueOverflow;
  /** Whether a session without a connection also queues QoS 0 messages */
  readonly queueQos0: boolean;
  /** QoS 1 and 2 messages on their way to one client; the client's own Receive Maximum may lower it */
  readonly inflightMessagesMax: number;
  /** Bytes of their payloads from which on the next message waits; 0 is no limit */
  readonly inflightBytesMax: number;
  /** QoS 1 and 2 messages one client may have on their way to the broker; told to 5.0 clients (v5 §3.2.2.3.3) */
  readonly receiveMaximum: number;
  /** Topic aliases a client may set; told to 5.0 clients; 0 forbids them */
  readonly topicAliasMaximum: number;
  /** Topic aliases the broker sets towards one client; the client's own Topic Alias Maximum may lower it */
  readonly topicAliasMaximumToClients: number;
  /** Longest topic name or topic filter, UTF-8 bytes */
  readonly topicBytesMax: number;
  readonly topicLevelsMax: number;
  /** Longest client identifier, UTF-8 bytes */
  readonly clientIdBytesMax: number;
  readonly subscriptionsPerClientMax: number;
  /** Over all listeners */
  readonly connectionsMax: number;
  /** With and without a connection; 0 is no limit */
  readonly sessionsMax: number;
  /** How long a session outlives its connection at most; also what 3.x sessions with clean session 0 get */
  readonly sessionExpirySecondsMax: number;
  /** Below 65535: 5.0 clients that ask for more, or for none at all (0), are told this one as Server Keep Alive */
  readonly keepAliveSecondsMax: number;
  /** From accepting a connection to its CONNECT */
  readonly connectTimeoutSeconds: number;
  readonly retainedMessagesMax: number;
  readonly retainedBytesMax: number;
  /** Retained messages sent to one client in a second because it subscribed; 0 is no limit */
  readonly retainedPerSecondMax: number;
  /** Messages that wait to be published later (`$delayed/…`) */
  readonly delayedMessagesMax: number;
  /** Bytes encoded for one connection that its socket has not taken yet */
  readonly outboundBytesMax: number;
  /** As `outboundBytesMax`, over all connections; above it publishers are paused */
  readonly memoryOutboundBytesMax: number;
  /** How long a subscriber that falls behind may hold its publishers back before its QoS 0 messages are dropped */
  readonly slowReaderHoldMs: number;
  /** Topic names kept resolved to their subscribers */
  readonly topicCacheEntriesMax: number;
  /** QoS 1 and 2 messages waiting for a shared subscription none of whose members is connected */
  readonly sharedQueueMessagesMax: number;
}

export const defaultLimits: Limits = {
  packetBytesMax: 1_048_576,
  payloadBytesMax: 0,
  queueMessagesMax: 1000,
  queueBytesMax: 16_777_216,
  queueOverflow: 'dropOldest',
  queueQos0: false,
  inflightMessagesMax: 100,
  inflightBytesMax: 0,
  receiveMaximum: 100,
  topicAliasMaximum: 100,
  topicAliasMaximumToClients: 10,
  topicBytesMax: 4096,
  topicLevelsMax: 64,
  clientIdBytesMax: 256,
  subscriptionsPerClientMax: 10_000,
  connectionsMax: 100_000,
  sessionsMax: 0,
  sessionExpirySecondsMax: 604_800,
  keepAliveSecondsMax: 65_535,
  connectTimeoutSeconds: 10,
  retainedMessagesMax: 1_000_000,
  retainedBytesMax: 268_435_456,
  retainedPerSecondMax: 0,
  delayedMessagesMax: 100_000,
  outboundBytesMax: 16_777_216,
  memoryOutboundBytesMax: 268_435_456,
  slowReaderHoldMs: 1000,
  topicCacheEntriesMax: 131_072,
  sharedQueueMessagesMax: 10_000,
};
