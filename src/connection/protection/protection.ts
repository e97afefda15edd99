/**
 * What keeps clients from doing harm, in one place: bans, how often they connect, how often they fail to log in, how many
 * connections they have, how fast they publish. Asked by connections; its settings can be replaced at any time.
 */
import { type Clock, type Logger, TokenBucket } from '../../base/index.js';
import type { Client } from '../../policy/index.js';
import type { Store } from '../../storage/index.js';
import { BanList } from './ban-list.js';
import { ConnectionCounts } from './connection-counts.js';
import { type RateRule, Rates } from './rates.js';
import { RecentCounts } from './recent-counts.js';

export interface ProtectionOptions {
  readonly rates: readonly RateRule[];
  /** Connections of one user at a time; 0 is no limit. */
  readonly connectionsPerUserMax: number;
  /** Connections from one address at a time; 0 is no limit. */
  readonly connectionsPerAddressMax: number;
  /** New connections in a second, of all listeners together; 0 is no limit. */
  readonly connectionsPerSecondMax: number;
  /** How long a connection may last; 0 is no limit. */
  readonly connectionSecondsMax: number;
  readonly flapping: {
    /** A client that connects more often within the window is banned; 0 is never. */
    readonly connectsMax: number;
    readonly windowSeconds: number;
    readonly banSeconds: number;
  };
  readonly logins: {
    /** Failed logins of one address, or for one user name, within the window that are answered at once; 0 is all. */
    readonly failuresMax: number;
    readonly windowSeconds: number;
    /** How long the answer to a failed login waits at most, once there were more. */
    readonly delaySecondsMax: number;
  };
}

/** Addresses, users and clients whose counts are kept. */
const NAMES_MAX = 100_000;
/** Failed logins whose answers wait at a time; beyond it they are answered at once. */
const WAITING_MAX = 1000;

export class Protection {
  readonly bans: BanList;
  readonly rates: Rates;
  readonly perUser = new ConnectionCounts();
  readonly perAddress = new ConnectionCounts();
  private connects!: RecentCounts;
  private failures!: RecentCounts;
  private newConnections: TokenBucket | undefined;
  private waiting = 0;
  private current: ProtectionOptions | undefined;

  constructor(
    options: ProtectionOptions,
    private readonly clock: Clock,
    private readonly log: Logger,
    store: Store | undefined,
  ) {
    this.bans = new BanList(() => clock.nowMs(), store);
    this.rates = new Rates(options.rates, () => clock.nowMs());
    this.replace(options);
  }

  get options(): ProtectionOptions {
    return this.current!;
  }

  /**
   * These settings from now on; what was counted so far stays where its setting is as before. Returns whether the rates of clients are
   * others: then each is to ask for its own again.
   */
  replace(options: ProtectionOptions): boolean {
    const { current: former } = this;
    this.current = options;
    const { flapping, logins, connectionsPerSecondMax: rate } = options;
    if (flapping.windowSeconds !== former?.flapping.windowSeconds)
      this.connects = new RecentCounts(flapping.windowSeconds, NAMES_MAX);
    if (logins.windowSeconds !== former?.logins.windowSeconds)
      this.failures = new RecentCounts(logins.windowSeconds, NAMES_MAX);
    if (rate !== former?.connectionsPerSecondMax)
      this.newConnections = rate === 0 ? undefined : new TokenBucket(rate, rate, this.clock.nowMs());
    return this.rates.replace(options.rates);
  }

  /** Whether one more connection may come now. */
  mayConnect(): boolean {
    if (this.newConnections === undefined) return true;
    const now = this.clock.nowMs();
    if (!this.newConnections.ready(now)) return false;
    this.newConnections.spend(1, now);
    return true;
  }

  /** A client has connected; one that does so too often is banned. Returns whether it is now. */
  connected({ clientId }: Client): boolean {
    const { connectsMax, windowSeconds, banSeconds } = this.options.flapping;
    if (connectsMax === 0) return false;
    const now = this.clock.nowMs();
    const times = this.connects.add(clientId, now);
    if (times <= connectsMax) return false;
    this.connects.forget(clientId);
    this.log.warning('client.flapping', 'The client connects too often and is banned for a time.', {
      clientId,
      times,
      windowSeconds,
      banSeconds,
    });
    const reason = `connected ${times} times within ${windowSeconds} seconds`;
    this.bans.add({ kind: 'clientId', value: clientId, untilMs: now + banSeconds * 1000, reason }, 'flapping');
    return true;
  }

  /**
   * A login has failed. Returns how long its answer is to wait, milliseconds: nothing for the first few, then twice as long each
   * time. `answered` is to be called when it has been given.
   */
  loginFailed({ address, username }: Pick<Client, 'address' | 'username'>): number {
    const { failuresMax, delaySecondsMax } = this.options.logins;
    if (failuresMax === 0) return 0;
    const now = this.clock.nowMs();
    const times = Math.max(
      this.failures.add(`address ${address}`, now),
      username === undefined ? 0 : this.failures.add(`user ${username}`, now),
    );
    if (times <= failuresMax || this.waiting >= WAITING_MAX) return 0;
    this.waiting++;
    return Math.min(delaySecondsMax * 1000, 100 * 2 ** Math.min(20, times - failuresMax - 1));
  }

  answered(): void {
    this.waiting--;
  }
}
