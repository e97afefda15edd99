import type { Message, PublishRun, QoS } from '../protocol/index.js';
import type { Delivery } from '../router/index.js';

/** What a session needs of the connection that serves it now. The session never sees a socket or a packet byte. */
export interface Link {
  /** False while the connection has too much unsent, or has been sent enough for now: the session then stops taking from its queue. */
  readonly hasRoom: boolean;
  /** The client takes less than it is sent. */
  readonly isFull: boolean;

  /**
   * Sends one PUBLISH; `packetId` is 0 at QoS 0.
   * Returns false when it was dropped: larger than the client takes, or QoS 0 beyond the outbound limit.
   */
  publish(
    message: Message,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | undefined,
  ): boolean;

  /** Sends a QoS 0 run. */
  publishRun(run: PublishRun, delivery: Delivery): void;

  /** Sends PUBREL; `found` is false when the session knows no such packet (v5 table 3-6). */
  pubrel(packetId: number, found: boolean): void;

  /** What was just told to the client leaves only when what was stored until now is as durable as it has to be. */
  gate(): void;

  /** Asks for `pump` again in a later turn. */
  again(): void;

  /** Ends the connection because another took over its session [MQTT-3.1.4-3]. */
  takenOver(): void;
}

/** A connection that publishes, as back-pressure sees it. */
export interface HeldPublisher {
  /** Bytes that it has taken of what it was sent. */
  readonly bytesTaken: number;
  hold(): void;
  release(): void;
}
