/**
 * Who may not connect, for a time or for good: by client identifier, user name, address or network, literally or by a pattern. Kept in
 * storage where there is any; those of the configuration beside.
 */
import { BlockList, isIP } from 'node:net';
import { Fault, quoted } from '../../base/index.js';
import type { Client } from '../../policy/index.js';
import { type Store, successor } from '../../storage/index.js';
import { canonicalAddress } from '../../transport/index.js';

export const banKinds = ['clientId', 'username', 'address', 'clientIdPattern', 'usernamePattern'] as const;
export type BanKind = (typeof banKinds)[number];

export interface NewBan {
  readonly kind: BanKind;
  /** The name; an IP address or a network such as `10.0.0.0/8`; or a regular expression that has to match all of the name. */
  readonly value: string;
  /** When it ends, milliseconds since the Unix epoch; undefined is never. */
  readonly untilMs?: number | undefined;
  readonly reason?: string | undefined;
}

export interface Ban extends NewBan {
  readonly sinceMs: number;
  /** Who made it: the configuration, an administrator, or the broker itself. */
  readonly by: string;
}

/** First byte of the keys in storage. */
const KIND = 'b';
const PATTERN_LENGTH_MAX = 1024;
/** Those that are over are looked for when there are more than this. */
const BANS_KEPT = 1000;

interface Compiled {
  readonly ban: Ban;
  readonly matches: (client: Pick<Client, 'clientId' | 'username' | 'address'>) => boolean;
}

export class BanList {
  /** Called with each ban that comes. */
  onAdded: (ban: Ban) => void = () => {};
  /** By kind and name: the common kinds are found without a look at all others. */
  private readonly byName = new Map<string, Ban>();
  private readonly others = new Map<string, Compiled>();
  private sweepAt = BANS_KEPT;

  constructor(
    private readonly nowMs: () => number,
    private readonly store: Store | undefined,
  ) {}

  get size(): number {
    return this.byName.size + this.others.size;
  }

  /** Takes over those of the last run. Errors: none; one that cannot be read any more is left out and removed. */
  load(): void {
    for (const { key, value } of [...(this.store?.scan(KIND, successor(KIND)) ?? [])])
      try {
        this.keep(JSON.parse(value.toString()) as Ban);
      } catch {
        this.store!.remove(key);
      }
  }

  /**
   * Bans, or replaces the ban of the same kind and value. `by` says who did.
   * Errors  `Fault` BAN_INVALID naming what is wrong with the value.
   */
  add(newBan: NewBan, by: string): Ban {
    const ban: Ban = { ...newBan, sinceMs: this.nowMs(), by };
    this.keep(ban);
    if (this.size >= this.sweepAt) {
      this.expire();
      this.sweepAt = Math.max(BANS_KEPT, 2 * this.size);
    }
    if (by !== 'configuration') this.store?.put(keyOf(ban), Buffer.from(JSON.stringify(ban)));
    this.onAdded(ban);
    return ban;
  }

  /** Lifts a ban, where `by` is given only one that this one made; returns whether there was one. */
  remove(kind: BanKind, value: string, by?: string): boolean {
    const id = idOf({ kind, value });
    const ban = this.byName.get(id) ?? this.others.get(id)?.ban;
    if (by !== undefined && ban?.by !== by) return false;
    const found = this.byName.delete(id) || this.others.delete(id);
    if (found) this.store?.remove(keyOf({ kind, value }));
    return found;
  }

  /** All that are in force. */
  *list(): Generator<Ban> {
    this.expire();
    yield* this.byName.values();
    for (const { ban } of this.others.values()) yield ban;
  }

  /** The ban that keeps a client out; undefined when there is none. */
  find(client: Pick<Client, 'clientId' | 'username' | 'address'>): Ban | undefined {
    if (this.size === 0) return undefined;
    const named =
      this.inForce(this.byName.get(`clientId\0${client.clientId}`)) ??
      this.inForce(this.byName.get(`username\0${client.username ?? ''}`)) ??
      this.inForce(this.byName.get(`address\0${client.address}`));
    if (named !== undefined) return named;
    for (const { ban, matches } of this.others.values()) if (matches(client) && this.inForce(ban)) return ban;
    return undefined;
  }

  /** The ban of an address, before anything is known of the client. */
  findAddress(address: string): Ban | undefined {
    return this.size === 0 ? undefined : this.find({ clientId: '', username: undefined, address });
  }

  private inForce(ban: Ban | undefined): Ban | undefined {
    if (ban?.untilMs === undefined || ban.untilMs > this.nowMs()) return ban;
    this.remove(ban.kind, ban.value);
    return undefined;
  }

  private expire(): void {
    for (const ban of [...this.byName.values(), ...[...this.others.values()].map(({ ban }) => ban)]) this.inForce(ban);
  }

  private keep(ban: Ban): void {
    if (!banKinds.includes(ban.kind))
      throw new Fault(
        'BAN_INVALID',
        `the kind of the ban, ${quoted(String(ban.kind))}, is none of ${banKinds.join(', ')}`,
      );
    if (typeof ban.value !== 'string' || ban.value === '') throw invalid(ban, 'is empty or no text');
    if (ban.untilMs !== undefined && !Number.isFinite(ban.untilMs))
      throw invalid(ban, `has no time for its end: ${quoted(String(ban.untilMs))}`);
    const id = idOf(ban);
    const literal =
      ban.kind === 'clientId' || ban.kind === 'username' || (ban.kind === 'address' && isIP(ban.value) !== 0);
    if (literal) this.byName.set(id, ban);
    else this.others.set(id, { ban, matches: matcher(ban) });
  }
}

/** Errors: `Fault` BAN_INVALID naming what is wrong with the value. */
export function checkBan(ban: NewBan): void {
  new BanList(() => 0, undefined).add(ban, '');
}

function matcher(ban: Ban): Compiled['matches'] {
  if (ban.kind === 'address') {
    const network = networkOf(ban);
    return ({ address }) => address !== '' && network.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
  }
  if (ban.value.length > PATTERN_LENGTH_MAX) throw invalid(ban, `is longer than ${PATTERN_LENGTH_MAX} characters`);
  let pattern: RegExp;
  try {
    pattern = new RegExp(`^(?:${ban.value})$`, 'su'); // a line end in a name is a character like others
  } catch (error) {
    throw invalid(ban, `is no regular expression (${(error as Error).message})`);
  }
  return ban.kind === 'clientIdPattern'
    ? ({ clientId }) => clientId !== '' && pattern.test(clientId)
    : ({ username }) => username !== undefined && pattern.test(username);
}

function networkOf(ban: Ban): BlockList {
  const [address = '', bits = '', ...more] = ban.value.split('/');
  const version = isIP(address);
  const prefix = Number(bits);
  if (
    version === 0 ||
    address.includes('%') ||
    more.length > 0 ||
    !/^\d{1,3}$/.test(bits) ||
    prefix > (version === 4 ? 32 : 128)
  )
    throw invalid(ban, 'is no IP address and no network such as 10.0.0.0/8');
  const list = new BlockList();
  list.addSubnet(address, prefix, version === 4 ? 'ipv4' : 'ipv6');
  return list;
}

/** An address is the same however it is written. */
function idOf({ kind, value }: Pick<Ban, 'kind' | 'value'>): string {
  return `${kind}\0${kind === 'address' && isIP(value) !== 0 ? canonicalAddress(value) : value}`;
}

function keyOf(ban: Pick<Ban, 'kind' | 'value'>): string {
  return KIND + Buffer.from(idOf(ban)).toString('latin1');
}

function invalid(ban: NewBan, what: string): Fault {
  return new Fault('BAN_INVALID', `the ${ban.kind} of the ban, ${quoted(String(ban.value))}, ${what}`);
}
