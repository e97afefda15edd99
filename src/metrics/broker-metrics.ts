/**
 * The broker's counters, as plain numbers that the hot path adds to. Everything that shows figures (`$SYS`, later Prometheus
 * and the API) reads them; nothing of it costs the publish path more than an addition.
 */
export class BrokerMetrics {
  readonly startedAtMs: number;

  bytesReceived = 0;
  bytesSent = 0;
  /** Control packets of any type. */
  packetsReceived = 0;
  packetsSent = 0;
  publishReceived = 0;
  publishSent = 0;
  publishBytesReceived = 0;
  publishBytesSent = 0;
  /** Messages given up for a subscriber: full queue or outbound limit, expired, larger than it takes. */
  publishDropped = 0;
  /** Messages refused from publishers: not authorized, quota. */
  publishRefused = 0;
  /** Filters of SUBSCRIBE that were refused, whatever for. */
  subscriptionsRefused = 0;

  connections = 0;
  connectionsTotal = 0;
  connectionsRefused = 0;
  /** Clients that were refused because they are banned, those that flap included. */
  connectionsBanned = 0;
  loginsFailed = 0;
  /** Times a publisher had to wait because it was above its rate, and publishes that were dropped or refused for it. */
  publishDelayed = 0;
  publishAboveRate = 0;
  slowConsumers = 0;
  overloads = 0;
  /** TLS handshakes that failed, or whose client was refused at their end. */
  tlsHandshakesFailed = 0;
  clientsConnected = 0;
  clientsConnectedMax = 0;
  sessions = 0;
  sessionsMax = 0;
  sessionsExpired = 0;

  constructor(nowMs: number) {
    this.startedAtMs = nowMs;
  }
}
