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
  /** Where whoever has the role gives it none of its own. */
  readonly priority: number;
  readonly entries: readonly RoleEntry[];
}

/** A name, or a name with a priority of its own. */
export interface Membership {
  readonly name: string;
  readonly priority?: number;
}

export interface Group {
  readonly name: string;
  readonly priority: number;
  readonly roles: readonly Membership[];
}

export type DefaultAccess = 'allow' | 'deny' | 'next';
export type AccessType = 'publishClientSend' | 'publishClientReceive' | 'subscribe' | 'unsubscribe';
export type DefaultAccesses = Readonly<Record<AccessType, DefaultAccess>>;

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

const closed: DefaultAccesses = {
  publishClientSend: 'next',
  publishClientReceive: 'next',
  subscribe: 'next',
  unsubscribe: 'next',
};

export class RoleBook {
  readonly roles = new Map<string, Role>();
  readonly groups = new Map<string, Group>();
  /** Roles and groups that user names have beside those that authentication found. */
  private readonly assignments = new Map<string, { roles: readonly Membership[]; groups: readonly Membership[] }>();
  private readonly compiled = new Map<string, readonly CompiledEntry[]>();
  private readonly listeners = new Set<() => void>();
  private defaultAccesses: DefaultAccesses = closed;
  private anonymous: string | undefined;
  private receive = false;

  get defaults(): DefaultAccesses {
    return this.defaultAccesses;
  }

  set defaults(defaults: DefaultAccesses) {
    this.defaultAccesses = defaults;
    this.changed();
  }

  get anonymousGroup(): string | undefined {
    return this.anonymous;
  }

  set anonymousGroup(name: string | undefined) {
    this.anonymous = name;
    this.changed();
  }

  /** Whether deliveries have to be asked about. */
  get governsReceive(): boolean {
    return this.receive;
  }

  /**
   * Adds a role or puts another in its place.
   * Errors  Error in words when an entry cannot be used; then nothing has changed.
   */
  setRole(role: Role): void {
    const entries = role.entries.map(({ type, filter, permit, priority }): CompiledEntry => {
      const literal = type.endsWith('Literal');
      const text = literal && !filter.startsWith('eq ') ? `eq ${filter}` : filter;
      const origin = `role ${role.name}, ${type} ${filter}`;
      return {
        type,
        filter: new FilterTemplate(text, permit === 'allow'),
        priority,
        verdict: { permit: permit === 'allow', origin },
      };
    });
    this.compiled.set(
      role.name,
      entries.sort((a, b) => Number(isLiteral(b)) - Number(isLiteral(a)) || b.priority - a.priority),
    );
    this.roles.set(role.name, role);
    this.changed();
  }

  removeRole(name: string): boolean {
    if (!this.roles.delete(name)) return false;
    this.compiled.delete(name);
    this.changed();
    return true;
  }

  setGroup(group: Group): void {
    this.groups.set(group.name, group);
    this.changed();
  }

  removeGroup(name: string): boolean {
    if (!this.groups.delete(name)) return false;
    this.changed();
    return true;
  }

  /** What a user name has beside what authentication finds; undefined takes it away. */
  assign(
    username: string,
    standing: { readonly roles: readonly Membership[]; readonly groups: readonly Membership[] } | undefined,
  ): void {
    if (standing === undefined) this.assignments.delete(username);
    else this.assignments.set(username, standing);
    this.changed();
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** The names of all roles and groups that hold for a client. */
  standing({ username }: Client, found: Standing): Standing {
    const assigned = username === undefined ? undefined : this.assignments.get(username);
    if (assigned === undefined) return found;
    const names = (memberships: readonly Membership[]) => memberships.map(({ name }) => name);
    return {
      roles: [...new Set([...found.roles, ...names(assigned.roles)])],
      groups: [...new Set([...found.groups, ...names(assigned.groups)])],
    };
  }

  /** The entries that hold for a client, in the order in which they count. */
  bind(client: Client, found: Standing): RoleAccess {
    const { username } = client;
    const assigned = username === undefined ? undefined : this.assignments.get(username);
    const own = join(assigned?.roles, found.roles);
    const memberships = join(assigned?.groups, found.groups);
    if (username === undefined && this.anonymous !== undefined) memberships.push({ name: this.anonymous });
    const order = this.rolesInOrder(own);
    const groups = memberships
      .map(({ name, priority }) => ({ group: this.groups.get(name), priority }))
      .filter((entry): entry is { group: Group; priority: number | undefined } => entry.group !== undefined)
      .sort((a, b) => (b.priority ?? b.group.priority) - (a.priority ?? a.group.priority));
    for (const { group } of groups) order.push(...this.rolesInOrder(group.roles));
    const entries: BoundEntry[] = [];
    for (const name of new Set(order))
      for (const { type, filter, verdict } of this.compiled.get(name)!) {
        const bound = filter.bind({ client });
        if (bound !== undefined) entries.push({ type, filter: bound, verdict });
      }
    return new RoleAccess(entries, this.defaultAccesses);
  }

  private rolesInOrder(memberships: readonly Membership[]): string[] {
    return memberships
      .filter(({ name }) => this.roles.has(name))
      .map(({ name, priority }) => ({ name, priority: priority ?? this.roles.get(name)!.priority }))
      .sort((a, b) => b.priority - a.priority)
      .map(({ name }) => name);
  }

  private changed(): void {
    this.receive =
      this.defaultAccesses.publishClientReceive === 'deny' ||
      [...this.roles.values()].some(({ entries }) =>
        entries.some(({ type, permit }) => type === 'publishClientReceive' && permit === 'deny'),
      );
    for (const listener of this.listeners) listener();
  }
}

const isLiteral = ({ type }: CompiledEntry) => type.endsWith('Literal');

/** An assignment's own priority counts before none. */
function join(assigned: readonly Membership[] = [], found: readonly string[]): Membership[] {
  const names = new Set(assigned.map(({ name }) => name));
  return [...assigned, ...found.filter((name) => !names.has(name)).map((name) => ({ name }))];
}

const accessOf = { publish: 'publishClientSend', receive: 'publishClientReceive', subscribe: 'subscribe' } as const;

export class RoleAccess {
  constructor(
    private readonly entries: readonly BoundEntry[],
    private readonly defaults: DefaultAccesses,
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

function byDefault(defaults: DefaultAccesses, access: AccessType): Answer {
  const answer = defaults[access];
  return answer === 'next' ? undefined : { permit: answer === 'allow', origin: `default of ${access}` };
}
