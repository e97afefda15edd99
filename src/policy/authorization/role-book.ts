/**
 * Roles and groups with priorities, changed while the broker runs.
 *
 * A role is a set of entries; each allows or denies one type of access for one filter. A client is decided by its own roles, the
 * highest priority first, then by those of its groups, the group of highest priority first; within a role by the entry of highest
 * priority that fits. Nothing fits: the default of that type, and with `next` the following source. Clients without a user name have the
 * roles of `anonymousGroup`.
 *
 *   publishClientSend      a publish by the client         filter matches the topic
 *   publishClientReceive   a delivery to the client        filter matches the topic
 *   subscribeLiteral       a subscription                  filter is the one asked for, wildcards included
 *   subscribePattern       a subscription                  filter covers the one asked for
 *   unsubscribeLiteral, unsubscribePattern                 likewise
 *
 * Within a role literals count before patterns. This is what Mosquitto's dynamic security does, to the letter: a role that denies
 * subscribing to `secret/#` still lets `#` be subscribed to. What must not be delivered is denied by publishClientReceive.
 */
import type { Client } from '../policy.js';
import type { Question } from '../sources/facts.js';
import { FilterTemplate } from './filter-template.js';
import type { Answer, Verdict } from './rule.js';
import type { CompiledFilter } from './topic-filter.js';
import type { Standing } from './who.js';

export const roleEntryTypes = [
  'publishClientSend',
  'publishClientReceive',
  'subscribeLiteral',
  'subscribePattern',
  'unsubscribeLiteral',
  'unsubscribePattern',
] as const;
export type RoleEntryType = (typeof roleEntryTypes)[number];

export interface RoleEntry {
  readonly type: RoleEntryType;
  readonly filter: string;
  readonly permit: 'allow' | 'deny';
  readonly priority: number;
}

export interface Role {
  readonly name: string;
  readonly priority: number;
  readonly entries: readonly RoleEntry[];
}

export interface Group {
  readonly name: string;
  readonly priority: number;
  readonly roles: readonly string[];
}

export type DefaultAccess = 'allow' | 'deny' | 'next';
export type AccessType = 'publishClientSend' | 'publishClientReceive' | 'subscribe' | 'unsubscribe';

/** What holds where no role decides, and the group of clients without a user name. */
export interface RoleDefaults extends Readonly<Record<AccessType, DefaultAccess>> {
  readonly anonymousGroup?: string;
}

interface CompiledEntry {
  readonly type: RoleEntryType;
  readonly filter: FilterTemplate;
  readonly priority: number;
  readonly verdict: Verdict;
}

interface BoundEntry {
  readonly type: RoleEntryType;
  readonly filter: CompiledFilter;
  readonly verdict: Verdict;
}

export class RoleBook {
  readonly roles = new Map<string, Role>();
  readonly groups = new Map<string, Group>();
  private readonly compiled = new Map<string, readonly CompiledEntry[]>();
  private readonly listeners = new Set<() => void>();
  private denies = false;

  /** Whether a role may forbid a delivery. */
  get deniesReceive(): boolean {
    return this.denies;
  }

  /**
   * Puts these roles and groups in the place of all.
   * Errors  Error in words when an entry cannot be used; then nothing has changed.
   */
  replace(roles: readonly Role[], groups: readonly Group[]): void {
    const compiled = roles.map((role) => [role.name, compileRole(role)] as const);
    this.roles.clear();
    this.groups.clear();
    this.compiled.clear();
    for (const role of roles) this.roles.set(role.name, role);
    for (const group of groups) this.groups.set(group.name, group);
    for (const [name, entries] of compiled) this.compiled.set(name, entries);
    this.denies = roles.some(({ entries }) =>
      entries.some(({ type, permit }) => type === 'publishClientReceive' && permit === 'deny'),
    );
    for (const listener of this.listeners) listener();
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** The entries that hold for a client, in the order in which they count. */
  bind(client: Client, { roles, groups }: Standing, defaults: RoleDefaults): RoleAccess {
    const { anonymousGroup } = defaults;
    const names = client.username === undefined && anonymousGroup !== undefined ? [...groups, anonymousGroup] : groups;
    const order = inOrder(roles, this.roles);
    for (const name of inOrder(names, this.groups)) order.push(...inOrder(this.groups.get(name)!.roles, this.roles));
    const entries: BoundEntry[] = [];
    for (const name of new Set(order))
      for (const { type, filter, verdict } of this.compiled.get(name)!) {
        const bound = filter.bind({ client });
        if (bound !== undefined) entries.push({ type, filter: bound, verdict });
      }
    return new RoleAccess(entries, defaults);
  }
}

const isLiteral = ({ type }: Pick<RoleEntry, 'type'>) => type.endsWith('Literal');

/** In the order in which they count. */
function compileRole(role: Role): readonly CompiledEntry[] {
  const entries = role.entries.map((entry): CompiledEntry => {
    const { type, filter, permit, priority } = entry;
    const text = isLiteral(entry) && !filter.startsWith('eq ') ? `eq ${filter}` : filter;
    const origin = `role ${role.name}, ${type} ${filter}`;
    return {
      type,
      filter: new FilterTemplate(text, permit === 'allow'),
      priority,
      verdict: { permit: permit === 'allow', origin },
    };
  });
  return entries.sort((a, b) => Number(isLiteral(b)) - Number(isLiteral(a)) || b.priority - a.priority);
}

/** The names of those that are there, the highest priority first. */
function inOrder(names: readonly string[], book: ReadonlyMap<string, { readonly priority: number }>): string[] {
  return names.filter((name) => book.has(name)).sort((a, b) => book.get(b)!.priority - book.get(a)!.priority);
}

const accessOf = { publish: 'publishClientSend', receive: 'publishClientReceive', subscribe: 'subscribe' } as const;

export class RoleAccess {
  constructor(
    private readonly entries: readonly BoundEntry[],
    private readonly defaults: RoleDefaults,
  ) {}

  ask({ action, topic }: Question): Answer {
    const access = accessOf[action];
    if (access === 'subscribe') return this.subscription('subscribe', topic);
    for (const { type, filter, verdict } of this.entries) if (type === access && filter.matches(topic)) return verdict;
    return byDefault(this.defaults, access);
  }

  askUnsubscribe(topicFilter: string): Answer {
    return this.subscription('unsubscribe', topicFilter);
  }

  private subscription(access: 'subscribe' | 'unsubscribe', topicFilter: string): Answer {
    for (const { type, filter, verdict } of this.entries) {
      if (!type.startsWith(access)) continue;
      if (filter.covers(topicFilter)) return verdict;
    }
    return byDefault(this.defaults, access);
  }
}

function byDefault(defaults: RoleDefaults, access: AccessType): Answer {
  const answer = defaults[access];
  return answer === 'next' ? undefined : { permit: answer === 'allow', origin: `default of ${access}` };
}
