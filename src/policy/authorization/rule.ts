/**
 * Rules as people, tokens and databases write them, and the list of those that hold for one client.
 *
 * The first rule of a list that decides counts. A publish or a delivery is decided by a rule whose filter matches the topic. A
 * subscription is allowed by a rule whose filter covers the whole filter asked for, and denied by a rule that overlaps it.
 */
import type { Client } from '../policy.js';
import type { Question } from '../sources/facts.js';
import { FilterTemplate } from './filter-template.js';
import type { CompiledFilter } from './topic-filter.js';
import { compileWho, type Standing, type Who, type WhoTest } from './who.js';

export const ruleActions = ['publish', 'subscribe', 'receive', 'all'] as const;
export type RuleAction = (typeof ruleActions)[number];

export interface RuleInput {
  readonly permit: 'allow' | 'deny';
  readonly action: RuleAction;
  /** Topic filters with variables; `eq ` before one takes it literally. */
  readonly filters: readonly string[];
  readonly who?: Who;
  /** Empty or left out: any. */
  readonly qos?: readonly number[];
  readonly retain?: 'any' | 'true' | 'false';
}

/** `origin` tells where a rule stands, as in `acl.txt:12`. */
export interface Verdict {
  readonly permit: boolean;
  readonly origin: string;
}

export const actionBits = { publish: 1, subscribe: 2, receive: 4, all: 7 } as const;

export interface Rule {
  readonly verdict: Verdict;
  readonly actions: number;
  readonly filters: readonly FilterTemplate[];
  readonly who: WhoTest | undefined;
  /** One bit for each QoS. */
  readonly qos: number;
  readonly retain: boolean | undefined;
}

/** Errors  Error in words for whoever wrote the rule. */
export function compileRule(input: RuleInput, origin: string): Rule {
  const permit = input.permit === 'allow';
  const { qos = [], retain = 'any' } = input;
  return {
    verdict: { permit, origin },
    actions: actionBits[input.action],
    filters: input.filters.map((filter) => new FilterTemplate(filter, permit)),
    who: compileWho(input.who, !permit),
    qos: qos.length === 0 ? 7 : qos.reduce((bits, level) => bits | (1 << level), 0),
    retain: retain === 'any' ? undefined : retain === 'true',
  };
}

interface BoundRule {
  readonly verdict: Verdict;
  readonly actions: number;
  readonly filters: readonly CompiledFilter[];
  readonly qos: number;
  readonly retain: boolean | undefined;
}

/** What a source answers; undefined: it has nothing to say. */
export type Answer = Verdict | undefined;

/** The rules of one source for one client. */
export class RuleList {
  constructor(private readonly rules: readonly BoundRule[]) {}

  ask({ action, topic, qos, retain }: Question): Answer {
    const bit = actionBits[action];
    for (const rule of this.rules) {
      if ((rule.actions & bit) === 0 || (rule.qos & (1 << qos)) === 0) continue;
      if (rule.retain !== undefined && action === 'publish' && rule.retain !== retain) continue;
      for (const filter of rule.filters) {
        const decides =
          action !== 'subscribe'
            ? filter.matches(topic)
            : rule.verdict.permit
              ? filter.covers(topic)
              : filter.overlaps(topic);
        if (decides) return rule.verdict;
      }
    }
    return undefined;
  }
}

export function bindRules(rules: readonly Rule[], client: Client, standing: Standing): RuleList {
  const facts = { client };
  const bound: BoundRule[] = [];
  for (const { verdict, actions, filters, who, qos, retain } of rules) {
    if (who !== undefined && !who(client, standing)) continue;
    const own = filters.map((filter) => filter.bind(facts)).filter((filter) => filter !== undefined);
    if (own.length > 0) bound.push({ verdict, actions, filters: own, qos, retain });
  }
  return new RuleList(bound);
}

const RULES_MAX = 100_000;
const FILTERS_MAX = 10_000;

/**
 * Reads a rule from a file, a token or a database row. Other brokers' names are taken as well: `permission`, `topic`, `topics`,
 * `pubsub`, and `publish`, `subscribe` and `all` as they use them.
 * Errors  Error in words for whoever wrote the rule.
 */
export function parseRule(value: unknown): RuleInput {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('a rule is an object');
  const { permit, permission, action, filters, topics, filter, topic, who, qos, retain, ...others } = value as Record<
    string,
    unknown
  >;
  const [unknownKey] = Object.keys(others);
  if (unknownKey !== undefined)
    throw new Error(`${JSON.stringify(unknownKey)} is not known; a rule has permit, action, filters, who, qos, retain`);
  const asked = filters ?? topics ?? filter ?? topic;
  const list = typeof asked === 'string' ? [asked] : asked;
  if (
    !Array.isArray(list) ||
    list.length === 0 ||
    list.length > FILTERS_MAX ||
    list.some((entry) => typeof entry !== 'string')
  )
    throw new Error('filters is a list of topic filters');
  return {
    permit: parsePermit(permit ?? permission ?? 'allow'),
    action: parseAction(action ?? 'all'),
    filters: list as string[],
    qos: parseQos(qos),
    retain: parseRetain(retain),
    ...(who === undefined || who === null ? {} : { who: parseWho(who) }),
  };
}

/** As `parseRules`; errors as well where a rule could not be used. */
export function readRules(value: unknown): RuleInput[] {
  const rules = parseRules(value);
  for (const rule of rules) compileRule(rule, '');
  return rules;
}

/** `{pub: […], sub: […], all: […]}` or a list of rules. */
export function parseRules(value: unknown): RuleInput[] {
  if (typeof value === 'string') return parseRules(JSON.parse(value));
  if (Array.isArray(value)) {
    if (value.length > RULES_MAX) throw new Error(`${value.length} rules; at most ${RULES_MAX} are taken`);
    return value.map(parseRule);
  }
  if (typeof value !== 'object' || value === null) throw new Error('rules are a list or an object');
  const { pub, sub, all, ...others } = value as Record<string, unknown>;
  if (Object.keys(others).length > 0) throw new Error('rules as an object have pub, sub and all');
  return Object.entries({ publish: pub, subscribe: sub, all }).flatMap(([action, filters]) =>
    filters === undefined ? [] : [parseRule({ action, filters })],
  );
}

function parsePermit(value: unknown): 'allow' | 'deny' {
  if (value === 'allow' || value === 'deny') return value;
  throw new Error('permit is allow or deny');
}

function parseAction(value: unknown): RuleAction {
  if (value === 'pubsub') return 'all';
  if (ruleActions.includes(value as RuleAction)) return value as RuleAction;
  throw new Error(`action is one of ${ruleActions.join(', ')}`);
}

function parseQos(value: unknown): number[] {
  if (value === undefined || value === null || value === '') return [];
  const list = Array.isArray(value) ? value : typeof value === 'string' ? value.split(',') : [value];
  return list.map((entry) => {
    const qos = typeof entry === 'string' ? Number(entry.trim() || 'none') : entry;
    if (qos === 0 || qos === 1 || qos === 2) return qos;
    throw new Error('qos is 0, 1, 2 or a list of them');
  });
}

function parseRetain(value: unknown): 'any' | 'true' | 'false' {
  if (value === undefined || value === null || value === '' || value === 'all' || value === 'any') return 'any';
  const text = String(value);
  if (text === 'true' || text === '1') return 'true';
  if (text === 'false' || text === '0') return 'false';
  throw new Error('retain is true, false or any');
}

const whoKeys = ['usernames', 'clientIds', 'addresses', 'listeners', 'roles', 'groups', 'certificates'] as const;

function parseWho(value: unknown): Who {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('who is an object');
  const who: Record<string, string[]> = {};
  for (const [key, given] of Object.entries(value)) {
    if (!(whoKeys as readonly string[]).includes(key))
      throw new Error(`${JSON.stringify(key)} is not known; who has ${whoKeys.join(', ')}`);
    const list = typeof given === 'string' ? [given] : given;
    if (!Array.isArray(list) || list.some((entry) => typeof entry !== 'string'))
      throw new Error(`${key} is a list of texts`);
    who[key] = list;
  }
  return who;
}
