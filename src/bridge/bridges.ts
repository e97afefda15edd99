/**
 * All bridges of a broker: started with it, added, changed and removed while it runs, their figures under `$SYS/broker/bridge/`.
 *
 * Storage keeps under 'h' and the client identifier of a session which bridge has it, which remote served it last and what was subscribed
 * to there. So what a bridge that is no more has left behind is found, a session is not resumed with another remote than its own, and
 * rows that were taken out while the broker did not run are ended at the remote.
 */
import { Fault, type Logger, WheelTimer } from '../base/index.js';
import type { ConnectionContext } from '../connection/index.js';
import type { Session } from '../session/index.js';
import { successor } from '../storage/index.js';
import { Bridge, type BridgeStatus, clientIdsOf } from './bridge.js';
import { type HandedOver, takeWaiting } from './hand-over.js';
import type { BridgeOptions } from './options.js';

const KIND = 'h';
const MEASURE_MS = 5000;

interface Kept {
  readonly bridge: string;
  readonly remote: string;
  /** What the remote may have subscriptions to. */
  readonly filters?: readonly string[];
}

export class Bridges {
  private readonly bridges = new Map<string, Bridge>();
  private readonly kept = new Map<string, Kept>();
  private readonly shown = new Map<string, string>();
  private readonly timer: WheelTimer;
  private running = false;

  constructor(
    private readonly context: ConnectionContext,
    private readonly log: Logger,
    /** Told of every change of state of a bridge. */
    private readonly changed: (status: () => BridgeStatus) => void = () => {},
  ) {
    this.timer = new WheelTimer(() => this.measure());
  }

  /** Call it when storage is open and before any client connects. */
  start(configured: readonly BridgeOptions[]): void {
    const names = new Set(configured.map(({ name }) => name));
    const all = [...configured, ...this.options.filter(({ name }) => !names.has(name))];
    this.running = true;
    this.load();
    const ids = new Set(all.flatMap((options) => clientIdsOf(options).map(({ local }) => local)));
    const left = [...this.kept].filter(([id]) => !ids.has(id));
    const handedOver = new Map(all.map(({ name }) => [name, [] as HandedOver[]]));
    for (const [id, { bridge }] of left) {
      const handed = handedOver.get(bridge);
      handed?.push({ connection: handed.length, waiting: takeWaiting(this.context.sessions, id) });
      this.endSession(id);
    }
    for (const options of all) this.begin(options, [], handedOver.get(options.name)!);
    this.context.wheel.arm(this.timer, MEASURE_MS);
  }

  /** Ends all connections in order; what waits stays in storage. */
  stop(): void {
    this.running = false;
    this.context.wheel.disarm(this.timer);
    for (const bridge of this.bridges.values()) bridge.stop('the broker shuts down', bridge.options);
  }

  /** Connections that are not closed yet. */
  get open(): number {
    let open = 0;
    for (const bridge of this.bridges.values()) open += bridge.uplinks.length;
    return open;
  }

  destroy(): void {
    for (const bridge of this.bridges.values()) for (const uplink of bridge.uplinks) uplink.destroy();
  }

  /** Storage can be written again. */
  releasePublishers(): void {
    for (const bridge of this.bridges.values())
      for (const uplink of bridge.uplinks) {
        if (!uplink.awaitsStorage) continue;
        uplink.awaitsStorage = false;
        uplink.proceed();
      }
  }

  list(): BridgeStatus[] {
    return [...this.bridges.values()].map((bridge) => bridge.status());
  }

  has(name: string): boolean {
    return this.bridges.has(name);
  }

  /** All settings in force. */
  get options(): BridgeOptions[] {
    return [...this.bridges.values()].map(({ options }) => options);
  }

  /** Errors: `Fault` BRIDGE_EXISTS. */
  add(options: BridgeOptions): void {
    this.refuseDouble(options, undefined);
    this.begin(options, [], []);
  }

  /**
   * Replaces the settings of a bridge: its connections are made anew, what it has queued stays.
   * Errors: `Fault` BRIDGE_UNKNOWN, BRIDGE_EXISTS.
   */
  change(name: string, options: BridgeOptions): void {
    const former = this.find(name);
    this.refuseDouble(options, former);
    this.begin(options, former.remoteFilters, this.end(former, options));
  }

  /** Names and sessions belong to one bridge each. */
  private refuseDouble(options: BridgeOptions, former: Bridge | undefined): void {
    const ids = new Set(clientIdsOf(options).map(({ local }) => local));
    for (const other of this.bridges.values()) {
      if (other === former) continue;
      const { name } = other.options;
      if (name === options.name) throw new Fault('BRIDGE_EXISTS', `there is a bridge ${JSON.stringify(name)} already`);
      const taken = clientIdsOf(other.options).find(({ local }) => ids.has(local));
      if (taken !== undefined)
        throw new Fault(
          'BRIDGE_EXISTS',
          `localClientId ${taken.local} is that of bridge ${JSON.stringify(name)} already`,
        );
    }
  }

  /** Ends a bridge that is there again in a moment, and the sessions that it does not have then. Returns what waited in these. */
  private end(former: Bridge, next: BridgeOptions): HandedOver[] {
    former.stop('the settings of the bridge have changed', next);
    former.forget(next);
    this.bridges.delete(former.options.name);
    if (next.name !== former.options.name) this.hide(former.options.name);
    const ids = new Set(clientIdsOf(next).map(({ local }) => local));
    return clientIdsOf(former.options).flatMap(({ local }, connection) => {
      if (ids.has(local)) return [];
      const waiting = takeWaiting(this.context.sessions, local);
      this.endSession(local);
      return { connection, waiting };
    });
  }

  /** Ends a bridge and forgets what it has queued. Errors: `Fault` BRIDGE_UNKNOWN. */
  remove(name: string): void {
    const bridge = this.find(name);
    bridge.stop('the bridge was removed', undefined);
    bridge.forget();
    this.bridges.delete(name);
    for (const { local } of clientIdsOf(bridge.options)) this.endSession(local);
    this.hide(name);
  }

  /** These bridges and no others: touches only those that differ. Returns the names of what it added, changed and removed. */
  replace(all: readonly BridgeOptions[]): { added: string[]; changed: string[]; removed: string[] } {
    const wanted = new Map(all.map((options) => [options.name, options]));
    const removed = [...this.bridges.keys()].filter((name) => !wanted.has(name));
    const changed = all.filter(({ name }) => this.bridges.has(name)).filter((options) => this.differs(options));
    const added = all.filter(({ name }) => !this.bridges.has(name));
    for (const name of removed) this.remove(name);
    // All of them end before the first begins: one may get the session that was another's.
    const given = changed.map((options) => {
      const former = this.find(options.name);
      return { formerly: former.remoteFilters, handedOver: this.end(former, options) };
    });
    for (const [index, options] of changed.entries()) {
      const { formerly, handedOver } = given[index]!;
      this.begin(options, formerly, handedOver);
    }
    for (const options of added) this.begin(options, [], []);
    return { added: added.map(({ name }) => name), changed: changed.map(({ name }) => name), removed };
  }

  /** Publishes what changed of the figures of all bridges. */
  show(): void {
    for (const status of this.list()) {
      const figures: Record<string, string> = {
        state: status.state,
        remote: status.remote,
        error: status.lastError,
        since: String(Math.floor(status.sinceMs / 1000)),
        'messages/queued': String(status.queuedMessages),
        'messages/inflight': String(status.inflightMessages),
        'messages/sent': String(status.messagesSent),
        'messages/received': String(status.messagesReceived),
        'messages/dropped': String(status.messagesDropped),
        'messages/refused': String(status.messagesRefused),
        'bytes/queued': String(status.queuedBytes),
        'bytes/sent': String(status.payloadBytesSent),
        'bytes/received': String(status.payloadBytesReceived),
        'rate/sent': status.sentPerSecond.toFixed(2),
        'rate/received': status.receivedPerSecond.toFixed(2),
      };
      for (const [figure, payload] of Object.entries(figures)) {
        const topicName = `$SYS/broker/bridge/${status.name}/${figure}`;
        if (this.shown.get(topicName) === payload) continue;
        this.shown.set(topicName, payload);
        this.context.router.publishLocal({ topicName, payload, retain: true });
      }
    }
  }

  /** Takes the figures of a bridge back. */
  private hide(name: string): void {
    for (const topicName of [...this.shown.keys()])
      if (topicName.startsWith(`$SYS/broker/bridge/${name}/`)) {
        this.shown.delete(topicName);
        this.context.router.publishLocal({ topicName, payload: '', retain: true });
      }
  }

  private begin(options: BridgeOptions, formerly: readonly string[], handedOver: readonly HandedOver[]): void {
    const given = clientIdsOf(options).flatMap(({ local }) => this.kept.get(local)?.filters ?? []);
    const bridge: Bridge = new Bridge(options, {
      context: this.context,
      log: this.log,
      given: [...new Set([...formerly, ...given])],
      lastRemoteOf: (id) => this.kept.get(id)?.remote || undefined,
      noteRemote: (id, remote) => this.keep(id, { bridge: options.name, remote, filters: bridge.remoteFilters }),
      changed: () => this.changed(() => bridge.status()),
    });
    this.bridges.set(options.name, bridge);
    if (!this.running) return; // `start` begins it
    for (const { local } of clientIdsOf(options)) {
      this.context.sessions.reserved.add(local);
      if (this.kept.has(local)) continue;
      this.endStranger(local);
      this.keep(local, { bridge: options.name, remote: '' });
    }
    bridge.takeOver(handedOver);
    bridge.start();
  }

  private differs(options: BridgeOptions): boolean {
    return JSON.stringify(this.bridges.get(options.name)!.options) !== JSON.stringify(options);
  }

  private find(name: string): Bridge {
    const bridge = this.bridges.get(name);
    if (bridge === undefined) throw new Fault('BRIDGE_UNKNOWN', `there is no bridge ${JSON.stringify(name)}`);
    return bridge;
  }

  /** A client had a session under this identifier: what it subscribed to is not for the remote. */
  private endStranger(id: string): void {
    const { sessions } = this.context;
    sessions.get(id)?.connection?.takenOver();
    const session = sessions.get(id);
    if (session !== undefined) sessions.end(session);
  }

  private endSession(id: string): void {
    const { sessions, storage } = this.context;
    const session: Session | undefined = sessions.get(id);
    if (session !== undefined) sessions.end(session);
    sessions.reserved.delete(id);
    this.kept.delete(id);
    storage?.remove(keyOf(id));
  }

  private measure(): void {
    for (const bridge of this.bridges.values()) bridge.figures.measure(this.context.nowMs());
    this.context.wheel.arm(this.timer, MEASURE_MS);
  }

  // ---- storage ----

  private load(): void {
    for (const { key, value } of [...(this.context.storage?.scan(KIND, successor(KIND)) ?? [])])
      try {
        this.kept.set(Buffer.from(key.slice(1), 'latin1').toString('utf8'), JSON.parse(value.toString()) as Kept);
      } catch {
        this.context.storage!.remove(key);
      }
  }

  private keep(id: string, kept: Kept): void {
    const text = JSON.stringify(kept);
    if (JSON.stringify(this.kept.get(id)) === text) return;
    this.kept.set(id, kept);
    this.context.storage?.put(keyOf(id), Buffer.from(text));
  }
}

function keyOf(id: string): string {
  return KIND + Buffer.from(id).toString('latin1');
}
