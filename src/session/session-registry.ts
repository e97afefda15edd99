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
  /** The broker stops, not the clients: wills wait in storage for its next start (v5 §3.1.2.5). */
  stopping = false;
  /** Client identifiers of sessions that are the broker's own, such as those of bridges: no client may have them. */
  readonly reserved = new Set<string>();
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
    const { store } = this.context;
    if (store !== undefined) {
      if (session.owner === '' && expiryInterval > 0) session.keepIn(store, store.newOwner());
      if (session.owner !== '') store.saveSession(clientId, session.owner, expiryInterval, 0);
      if (will !== undefined) store.saveWill(clientId, will, 0);
      else if (session.will !== undefined) store.removeWill(clientId);
    }
    session.will = will; // a will still delayed is not sent: the client is back in time [MQTT-3.1.3-9]
    return { session, sessionPresent };
  }

  /**
   * The connection `link` of `session` is gone. Its will is published or begins its delay, unless `discardWill`; the session
   * ends or begins its expiry.
   */
  close(session: Session, link: Link, discardWill: boolean): void {
    if (session.connection !== link) return;
    if (this.stopping && session.will !== undefined) {
      const { will } = session;
      session.will = undefined;
      this.context.store?.saveWill(session.clientId, will, this.context.clock.nowMs() + will.delay * 1000);
    }
    if (discardWill && session.will !== undefined) {
      session.will = undefined; // [MQTT-3.14.4-3]
      this.context.store?.removeWill(session.clientId);
    }
    if (!session.detach()) {
      this.end(session);
      return;
    }
    const { store, clock } = this.context;
    if (session.owner !== '')
      store!.saveSession(session.clientId, session.owner, session.expiryInterval, clock.nowMs());
    if (session.will !== undefined && session.will.delay > 0)
      store?.saveWill(session.clientId, session.will, clock.nowMs() + session.will.delay * 1000);
    this.wait(session, session.will?.delay ?? 0, session.expiryInterval);
  }

  /** A session without a connection: its will is due in `willSeconds`, its end in `expirySeconds`. */
  private wait(session: Session, willSeconds: number, expirySeconds: number): void {
    session.startWill(willSeconds, (values) => {
      this.publishWill(values, session.clientId);
      this.context.store?.removeWill(session.clientId);
    });
    session.startExpiry(expirySeconds, () => {
      this.context.metrics.sessionsExpired++;
      this.end(session);
    });
  }

  /**
   * Takes over what storage has of the last run: sessions with their subscriptions, wills that were not published. A client
   * that had a connection then has lost it now.
   */
  restore(): void {
    const { store, clock } = this.context;
    if (store === undefined) return;
    const now = clock.nowMs();
    const byOwner = new Map<string, Session>();
    const waiting: { session: Session; disconnectedAtMs: number; known: boolean }[] = [];
    for (const { clientId, owner, expiryInterval, disconnectedAtMs } of store.sessions()) {
      const session = new Session(clientId, this.context);
      session.expiryInterval = expiryInterval;
      session.restore(store, owner, store.countsOf(owner));
      this.sessions.set(clientId, session);
      byOwner.set(owner, session);
      // A clock that was set back since does not lengthen the life of a session.
      const since = Math.min(disconnectedAtMs || now, now);
      waiting.push({ session, disconnectedAtMs: since, known: since === disconnectedAtMs });
    }
    for (const { owner, request } of store.subscriptions()) byOwner.get(owner)?.restoreSubscription(request);
    for (const { owner, packetId } of store.received()) byOwner.get(owner)?.restoreReceived(packetId);
    store.recovered();
    for (const session of byOwner.values()) session.restoreShared();
    const lost: { clientId: string; values: NewMessage }[] = [];
    const dueAt = new Map<Session, number>();
    for (const { clientId, will, dueAtMs } of [...store.wills()]) {
      const session = this.sessions.get(clientId);
      if (session === undefined) lost.push({ clientId, values: will.values });
      else {
        session.will = will;
        const latest = now + will.delay * 1000;
        const due = dueAtMs === 0 ? latest : Math.min(dueAtMs, latest);
        dueAt.set(session, due);
        if (due !== dueAtMs) store.saveWill(clientId, will, due);
      }
    }
    for (const { session, disconnectedAtMs, known } of waiting) {
      // The next restart counts from here too.
      if (!known) store.saveSession(session.clientId, session.owner, session.expiryInterval, disconnectedAtMs);
      const due = dueAt.get(session) ?? now;
      const ends = disconnectedAtMs + session.expiryInterval * 1000;
      this.wait(session, Math.max(0, due - now) / 1000, Math.max(0, ends - now) / 1000);
    }
    // Of clients whose session ended with their connection.
    for (const { clientId, values } of lost) {
      this.publishWill(values, clientId);
      store.removeWill(clientId);
    }
    this.count();
  }

  /** Writes down what the log alone tells, before it becomes a table. */
  saveCounts(): void {
    for (const session of this.sessions.values()) session.saveCounts();
  }

  /** Ends a session: its pending will is published [MQTT-3.1.2-8], everything else discarded [MQTT-4.1.0-2]. */
  end(session: Session): void {
    if (this.sessions.get(session.clientId) !== session) return;
    this.sessions.delete(session.clientId);
    this.context.metrics.sessions = this.sessions.size;
    const { will } = session;
    session.will = undefined;
    try {
      session.end();
    } finally {
      if (will !== undefined) {
        this.publishWill(will.values, session.clientId);
        this.context.store?.removeWill(session.clientId);
      }
    }
  }

  private count(): void {
    const { metrics } = this.context;
    metrics.sessions = this.sessions.size;
    if (this.sessions.size > metrics.sessionsMax) metrics.sessionsMax = this.sessions.size;
  }
}
