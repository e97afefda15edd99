/**
 * Protection of the broker and of its clients from each other, applied to the connections that are open: bans, clients that take too little,
 * overload. What is counted and limited for a single client is in `connection/protection`.
 */
import type { Clock, Logger } from '../base/index.js';
import type { Config } from '../config/index.js';
import { type Connection, limitTime, Protection, type ProtectionOptions } from '../connection/index.js';
import type { BrokerMetrics } from '../metrics/index.js';
import { ReasonCode } from '../protocol/index.js';
import type { Session } from '../session/index.js';
import type { Store } from '../storage/index.js';
import { Overload } from './overload.js';

/** While the broker is overloaded nothing is read for so long in each second. */
const RELIEF_MS = 500;

export type GuardSettings = Pick<Config, 'rates' | 'bans' | 'protection'>;

export interface GuardHost {
  readonly connections: Iterable<Connection>;
  readonly metrics: BrokerMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where bans of the administrator are kept; undefined where nothing is stored. */
  readonly store: Store | undefined;
}

export class Guard {
  readonly protection: Protection;
  readonly overload: Overload;
  private enforcing: NodeJS.Immediate | undefined;

  constructor(
    public settings: GuardSettings,
    private readonly host: GuardHost,
  ) {
    this.protection = new Protection(optionsOf(settings), host.clock, host.log, host.store);
    this.overload = new Overload(
      settings.protection.overload,
      (overload) => this.overloadChanged(overload),
      () => this.relieve(),
    );
  }

  /** Storage is open. */
  start(): void {
    const { bans } = this.protection;
    bans.load();
    for (const ban of this.settings.bans) bans.add(ban, 'configuration');
    // Later, since the broker may ban in the middle of what a client does.
    bans.onAdded = () => this.enforceBansSoon();
    this.overload.start();
  }

  stop(): void {
    this.overload.stop();
  }

  /** Other settings from now on, for those too who are connected. */
  replace({ rates, bans, protection: options }: GuardSettings): void {
    const { protection, settings: former } = this;
    for (const { kind, value } of former.bans)
      if (!bans.some((ban) => ban.kind === kind && ban.value === value))
        protection.bans.remove(kind, value, 'configuration');
    this.settings = { rates, bans, protection: options };
    const otherRates = protection.replace(optionsOf(this.settings));
    for (const ban of bans) protection.bans.add(ban, 'configuration');
    this.overload.replace(options.overload);
    for (const connection of [...this.host.connections]) {
      if (!connection.connected) continue;
      limitTime(connection);
      if (otherRates) connection.replaceRates(protection.rates.of(connection.client!));
    }
  }

  get slowConsumerSeconds(): number {
    return this.settings.protection.slowConsumers.seconds;
  }

  slowConsumer(session: Session): void {
    this.host.metrics.slowConsumers++;
    const { seconds, outcome } = this.settings.protection.slowConsumers;
    this.host.log.warning('client.slow', `Messages have waited ${seconds} seconds for this client.`, {
      clientId: session.clientId,
      queuedMessages: session.queuedMessages,
      queuedBytes: session.queuedBytes,
    });
    if (outcome !== 'disconnect') return;
    const connection = session.connection as Connection | undefined;
    // Not in the middle of a delivery to it.
    if (connection) setImmediate(() => connection.disconnect(ReasonCode.QuotaExceeded, 'the client takes too little'));
  }

  /** One look at all connections, however many bans come at once. */
  private enforceBansSoon(): void {
    this.enforcing ??= setImmediate(() => {
      this.enforcing = undefined;
      this.enforceBans();
    });
  }

  /** Ends the connections that bans concern. */
  private enforceBans(): void {
    for (const connection of [...this.host.connections]) {
      const { client, connected } = connection;
      if (client === undefined || this.protection.bans.find(client) === undefined) continue;
      if (connected) connection.disconnect(ReasonCode.AdministrativeAction, 'the client is banned');
      else connection.refuse(ReasonCode.Banned, undefined); // a CONNACK knows no other code for it
    }
  }

  private overloadChanged({ reason }: Overload): void {
    const { log, metrics } = this.host;
    if (reason === '') {
      log.warning('broker.overload-over', 'The broker is not overloaded any more.');
      return;
    }
    metrics.overloads++;
    log.error(
      'broker.overload',
      `The broker is overloaded: ${reason}. New clients are refused, the others slowed down.`,
    );
  }

  /** Reads nothing for a while, so that what is there can be worked off. */
  private relieve(): void {
    const held = [...this.host.connections];
    for (const connection of held) connection.hold();
    setTimeout(() => {
      for (const connection of held) connection.release();
    }, RELIEF_MS).unref();
  }
}

function optionsOf({ rates, protection }: GuardSettings): ProtectionOptions {
  return { rates, ...protection };
}
