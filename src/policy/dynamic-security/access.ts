/**
 * What a client may do by the contents of dynamic security.
 *
 * The roles of the user count first, the one of highest priority before the others, then those of its groups, the group of highest
 * priority first; within a role the entry of highest priority that fits. Nothing fits: the default of that kind of access. Clients
 * without a user name have the roles of the anonymous group. Users that are not in the file are left to the next source.
 *
 *   publishClientSend, publishClientReceive    the topic of the entry matches as a subscription would: `#` leaves out `$…`
 *   subscribeLiteral, unsubscribeLiteral       it is the filter asked for, character by character; counts before the patterns of a role
 *   subscribePattern, unsubscribePattern       it covers the filter asked for, and there `#` covers `$…` too, as in Mosquitto
 *
 * Levels that are `%c` or `%u` stand for Client Identifier and user name, but not in literals. A value with `/`, `+` or `#` makes an entry
 * that allows fall away, and stands for `+` in one that denies. A default that allows does not open `$CONTROL` to anybody.
 */
import { isValidTopicFilter } from '../../protocol/index.js';
import type { Answer, Verdict } from '../authorization/rule.js';
import type { BoundSource } from '../authorization/source.js';
import { type CompiledFilter, compileFilter } from '../authorization/topic-filter.js';
import type { Client } from '../policy.js';
import type { Question } from '../sources/facts.js';
import type { AccessType, Acl, AclType, Contents, Role, User } from './contents.js';

interface CompiledAcl {
  readonly verdict: Verdict;
  /** Undefined where the topic has a variable, or is none. */
  readonly fixed: CompiledFilter | undefined;
  readonly levels: readonly string[] | undefined;
}

interface CompiledRole {
  readonly name: string;
  readonly allowWildcardSubs: boolean;
  readonly entries: ReadonlyMap<AclType, readonly CompiledAcl[]>;
  readonly literals: Readonly<Record<'subscribe' | 'unsubscribe', ReadonlyMap<string, Verdict>>>;
}

interface BoundEntry {
  readonly filter: CompiledFilter;
  readonly verdict: Verdict;
}

interface SubscriptionStep {
  readonly literals: ReadonlyMap<string, Verdict>;
  readonly patterns: readonly BoundEntry[];
  /** Decides filters with wildcards before anything else. */
  readonly wildcards: Verdict | undefined;
}

/** Roles are compiled once for all who have them, and again when another stands in their place. */
const compiledRoles = new WeakMap<Role, CompiledRole>();

const nothingToSay: BoundSource = { ask: () => undefined };
const disabled: Verdict = { permit: false, origin: 'the user is disabled' };
const refusesAll: BoundSource = { ask: () => disabled, askUnsubscribe: () => disabled };

/** `isLast`: no other source follows, so what is not allowed here is denied. */
export function bindAccess(contents: Contents, client: Client, isLast: boolean): BoundSource {
  const { username } = client;
  const user = username === undefined ? undefined : contents.users.get(username);
  if (username !== undefined && user === undefined) return nothingToSay;
  if (user?.disabled) return refusesAll;
  return new UserAccess(contents, client, rolesInOrder(contents, user), isLast);
}

function rolesInOrder({ roles, groups, anonymousGroup }: Contents, user: User | undefined): CompiledRole[] {
  const groupnames =
    user === undefined
      ? anonymousGroup === undefined
        ? []
        : [anonymousGroup]
      : user.groups.map((link) => link.groupname);
  const links = [...(user?.roles ?? []), ...groupnames.flatMap((name) => groups.get(name)?.roles ?? [])];
  return links.flatMap(({ rolename }) => {
    const role = roles.get(rolename);
    return role === undefined ? [] : [compile(role)];
  });
}

/** Whether some delivery may be forbidden to somebody. */
export function governsReceive({ defaultAccess, roles }: Contents): boolean {
  if (!defaultAccess.publishClientReceive) return true;
  for (const { acls } of roles.values())
    if (acls.some(({ acltype, allow }) => acltype === 'publishClientReceive' && !allow)) return true;
  return false;
}

function compile(role: Role): CompiledRole {
  const known = compiledRoles.get(role);
  if (known !== undefined) return known;
  const entries = new Map<AclType, CompiledAcl[]>();
  const literals = { subscribe: new Map<string, Verdict>(), unsubscribe: new Map<string, Verdict>() };
  for (const acl of role.acls) {
    const verdict = { permit: acl.allow, origin: `role ${role.rolename}, ${acl.acltype} ${acl.topic}` };
    if (acl.acltype === 'subscribeLiteral') literals.subscribe.set(acl.topic, verdict);
    else if (acl.acltype === 'unsubscribeLiteral') literals.unsubscribe.set(acl.topic, verdict);
    else {
      const list = entries.get(acl.acltype);
      if (list === undefined) entries.set(acl.acltype, [compileAcl(acl, verdict)]);
      else list.push(compileAcl(acl, verdict));
    }
  }
  const compiled = { name: role.rolename, allowWildcardSubs: role.allowWildcardSubs, entries, literals };
  compiledRoles.set(role, compiled);
  return compiled;
}

function compileAcl({ acltype, topic }: Acl, verdict: Verdict): CompiledAcl {
  const levels = topic.split('/');
  if (levels.some((level) => level === '%c' || level === '%u')) return { verdict, fixed: undefined, levels };
  const fixed = isValidTopicFilter(topic) ? compileFilter(topic, isStrict(acltype)) : undefined;
  return { verdict, fixed, levels: undefined };
}

const isStrict = (acltype: AclType) => acltype === 'publishClientSend' || acltype === 'publishClientReceive';

/** The filter for one client; undefined when the entry says nothing about it. */
function bindAcl(acl: CompiledAcl, acltype: AclType, client: Client): CompiledFilter | undefined {
  if (acl.levels === undefined) return acl.fixed;
  const levels: string[] = [];
  for (const level of acl.levels) {
    if (level !== '%c' && level !== '%u') {
      levels.push(level);
      continue;
    }
    const value = level === '%c' ? client.clientId : client.username;
    if (value === undefined || value === '') return undefined;
    const unfit = /[/+#]/.test(value) || (levels.length === 0 && value.startsWith('$'));
    if (unfit && acl.verdict.permit) return undefined;
    levels.push(unfit ? '+' : value);
  }
  const topic = levels.join('/');
  return isValidTopicFilter(topic) ? compileFilter(topic, isStrict(acltype)) : undefined;
}

const accessOf = { publish: 'publishClientSend', receive: 'publishClientReceive', subscribe: 'subscribe' } as const;

class UserAccess implements BoundSource {
  private readonly topics = new Map<AclType, readonly BoundEntry[]>();
  private readonly steps = new Map<'subscribe' | 'unsubscribe', readonly SubscriptionStep[]>();

  constructor(
    private readonly contents: Contents,
    private readonly client: Client,
    private readonly roles: readonly CompiledRole[],
    private readonly isLast: boolean,
  ) {}

  ask({ action, topic }: Question): Answer {
    const access = accessOf[action];
    if (access === 'subscribe') return this.subscription('subscribe', topic) ?? this.byDefault('subscribe', topic);
    for (const { filter, verdict } of this.topicsOf(access)) if (filter.matches(topic)) return verdict;
    return this.byDefault(access, topic);
  }

  askUnsubscribe(topicFilter: string): Answer {
    return this.subscription('unsubscribe', topicFilter) ?? this.byDefault('unsubscribe', topicFilter);
  }

  private subscription(access: 'subscribe' | 'unsubscribe', topicFilter: string): Answer {
    const wild = topicFilter.includes('+') || topicFilter.includes('#');
    for (const { literals, patterns, wildcards } of this.stepsOf(access)) {
      if (wild && wildcards !== undefined) return wildcards;
      const literal = literals.get(topicFilter);
      if (literal !== undefined) return literal;
      for (const { filter, verdict } of patterns) if (filter.covers(topicFilter)) return verdict;
    }
    return undefined;
  }

  private byDefault(access: AccessType, topic: string): Answer {
    const origin = `default of ${access}`;
    const allows = this.contents.defaultAccess[access];
    const closed = (access === 'publishClientSend' || access === 'subscribe') && isControl(topic);
    if (allows && !closed) return { permit: true, origin };
    // The chain lets through what no source decides of these two.
    const decides = this.isLast || access === 'publishClientReceive' || access === 'unsubscribe';
    return decides ? { permit: false, origin } : undefined;
  }

  private topicsOf(access: 'publishClientSend' | 'publishClientReceive'): readonly BoundEntry[] {
    let bound = this.topics.get(access);
    if (bound === undefined) {
      bound = this.roles.flatMap((role) => this.entriesOf(role, access));
      this.topics.set(access, bound);
    }
    return bound;
  }

  private stepsOf(access: 'subscribe' | 'unsubscribe'): readonly SubscriptionStep[] {
    let steps = this.steps.get(access);
    if (steps === undefined) {
      steps = this.roles.map((role) => ({
        literals: role.literals[access],
        patterns: this.entriesOf(role, `${access}Pattern`),
        wildcards:
          access === 'subscribe' && !role.allowWildcardSubs
            ? { permit: false, origin: `role ${role.name} allows no wildcards` }
            : undefined,
      }));
      this.steps.set(access, steps);
    }
    return steps;
  }

  private entriesOf(role: CompiledRole, acltype: AclType): BoundEntry[] {
    return (role.entries.get(acltype) ?? []).flatMap((acl) => {
      const filter = bindAcl(acl, acltype, this.client);
      return filter === undefined ? [] : [{ filter, verdict: acl.verdict }];
    });
  }
}

const isControl = (topic: string) => topic === '$CONTROL' || topic.startsWith('$CONTROL/');
