/**
 * Takes what waits, or is not acknowledged, out of a session that a bridge goes on without: it has other identifiers now, or fewer
 * connections. It is read the way a remote would get it, by a link that acknowledges everything.
 */
import { type Message, type QoS, ReasonCode } from '../protocol/index.js';
import {
  type HeldPublisher,
  type Link,
  SESSION_NEVER_EXPIRES,
  type Session,
  type SessionRegistry,
} from '../session/index.js';

const RECEIVE_MAXIMUM = 65535;

/** A message under its name at the remote. */
export interface Waiting {
  readonly message: Message;
  readonly qos: QoS;
  readonly retain: boolean;
}

/** What was the work of one connection, counted from 0. */
export interface HandedOver {
  readonly connection: number;
  readonly waiting: readonly Waiting[];
}

class Taker implements Link, HeldPublisher {
  readonly hasRoom = true;
  readonly isFull = false;
  readonly bytesTaken = 0;
  readonly waiting: Waiting[] = [];
  private readonly answers: ((session: Session) => void)[] = [];

  publish(message: Message, qos: QoS, retain: boolean, _dup: boolean, packetId: number): boolean {
    this.waiting.push({ message: message.copy(), qos, retain });
    if (qos === 1) this.answers.push((session) => session.puback(packetId));
    // One answer ends it.
    if (qos === 2) this.answers.push((session) => session.pubrec(packetId, ReasonCode.UnspecifiedError));
    return true;
  }

  /** The remote has the message. */
  pubrel(packetId: number): void {
    this.answers.push((session) => session.pubcomp(packetId));
  }

  /** Answers make room for more, until nothing is left. */
  answer(session: Session): void {
    for (const answer of this.answers) answer(session);
  }

  publishRun(): void {}
  gate(): void {}
  again(): void {}
  takenOver(): void {}
  hold(): void {}
  release(): void {}
}

/** In the order of sending; the session is empty afterwards. */
export function takeWaiting(sessions: SessionRegistry, localClientId: string): Waiting[] {
  if (sessions.get(localClientId) === undefined) return [];
  const taker = new Taker();
  const { session } = sessions.open(localClientId, false, SESSION_NEVER_EXPIRES, undefined, taker, RECEIVE_MAXIMUM);
  session.resume();
  taker.answer(session);
  return taker.waiting;
}
