/**
 * The sessions of this node by client identifier: opened, taken over, kept for their expiry interval, ended; and their wills.
 */
import type { NewMessage } from '../protocol/index.js';
import type { HeldPublisher, Link } from './link.js';
import { Session, type SessionContext, type SessionWill } from './session.js';

export interface OpenSession {
  readonly session: Session;
  readonly sessionPresent: boolean;
}

export class SessionRegistry {
  private readonly sessions = new Map<string, Session>();

  /** `publishWill` is handed every will whose time has come. */
  constructor(
    private readonly context: SessionContext,
    private readonly publishWill: (values: NewMessage, clientId: string) => void,
  ) {}

  get size(): number {
    return this.sessions.size;
  }

  get(clientId: string): Session | undefined {
    return this.sessions.get(clientId);
  }

  values(): IterableIterator<Session> {
    return this.sessions.values();
  }

  /**
   * Opens the session of `clientId` for a connection. A connection that has it now is ended first [MQTT-3.1.4-3], and with
   * `cleanStart` what the session held is discarded [MQTT-3.1.2-4].
   */
  open(
    clientId: string,
    cleanStart: boolean,
    expiryInterval: number,
    will: SessionWill | undefined,
    link: Link & HeldPublisher,
    receiveMaximum: number,
  ): OpenSession {
    let session = this.sessions.get(clientId);
    if (session?.connection !== undefined) {
      const former = session.connection;
      former.takenOver(); // which calls `close`: the session may have ended by it
      session = this.sessions.get(clientId);
    }
    if (session !== undefined && cleanStart) {
      this.end(session);
      session = undefined;
    }
    const sessionPresent = session !== undefined;
    if (session === undefined) {
      session = new Session(clientId, this.context);
      this.sessions.set(clientId, session);
      this.count();
    }
    session.attach(link, receiveMaximum);
    session.expiryInterval = expiryInterval;
    session.will = will; // a will still delayed is not sent: the client is back in time [MQTT-3.1.3-9]
    return { session, sessionPresent };
  }

  /**
   * The connection `link` of `session` is gone. Its will is published or begins its delay, unless `discardWill`; the session
   * ends or begins its expiry.
   */
  close(session: Session, link: Link, discardWill: boolean): void {
    if (session.connection !== link) return;
    if (discardWill) session.will = undefined; // [MQTT-3.14.4-3]
    if (!session.detach()) {
      this.end(session);
      return;
    }
    session.startWill((values) => this.publishWill(values, session.clientId));
    session.startExpiry(() => {
      this.context.metrics.sessionsExpired++;
      this.end(session);
    });
  }

  /** Ends a session: its pending will is published [MQTT-3.1.2-8], everything else discarded [MQTT-4.1.0-2]. */
  end(session: Session): void {
    if (this.sessions.get(session.clientId) !== session) return;
    this.sessions.delete(session.clientId);
    this.context.metrics.sessions = this.sessions.size;
    const { will } = session;
    session.will = undefined;
    session.end();
    if (will !== undefined) this.publishWill(will.values, session.clientId);
  }

  private count(): void {
    const { metrics } = this.context;
    metrics.sessions = this.sessions.size;
    if (this.sessions.size > metrics.sessionsMax) metrics.sessionsMax = this.sessions.size;
  }
}
