/**
 * Authorization from outside the process.
 *
 * `LookupRules`  fetches the rules of a client from a database and keeps them for a while.
 * `HttpRules`    asks a service about every question, and keeps its answers.
 */
import { createHash } from 'node:crypto';
import type { Logger } from '../../base/index.js';
import type { HttpOptions } from '../options.js';
import type { Client } from '../policy.js';
import { AnswerCache } from '../sources/answer-cache.js';
import type { Question } from '../sources/facts.js';
import { goodbye } from '../sources/goodbye.js';
import { Guard, type SourceStatus } from '../sources/guard.js';
import { HttpCall, HttpClient, type HttpRequest, resultOf } from '../sources/http-client.js';
import { makeRows, type RowOptions } from '../sources/make-rows.js';
import type { Row, RowSource } from '../sources/rows.js';
import { textOf } from '../sources/rows.js';
import { type Answer, bindRules, compileRule, parseRule, type Rule, type RuleList, type Verdict } from './rule.js';
import type { AuthorizationSource, BoundSource } from './source.js';
import type { Standing } from './who.js';

const silent: BoundSource = { ask: () => undefined };

/** Rules as they were fetched. */
interface Fetched {
  readonly rules: readonly Rule[];
  /** Of the rows that they were made of. */
  readonly digest: string;
  readonly untilMs: number;
}

export class LookupRules implements AuthorizationSource {
  readonly name: string;
  readonly type: string;
  /** Nobody knows what the next rules say. */
  readonly governsReceive = true;
  private readonly rows: RowSource;
  private readonly guard: Guard;
  private readonly cache: AnswerCache<Fetched>;
  private readonly underWay = new Map<string, Promise<Fetched>>();
  private readonly keepMs: number;

  /** @param changed told of a client whose rules are found to be others than before. */
  constructor(
    options: RowOptions,
    log: Logger,
    readonly changed: (client: Client) => void,
  ) {
    const { name, type, timeoutMs, requestsMax, cacheEntriesMax, cacheSeconds } = options;
    this.name = name;
    this.type = type;
    this.keepMs = cacheSeconds * 1000;
    this.rows = makeRows(options, 'rule');
    this.guard = new Guard({ name, type, timeoutMs, runningMax: requestsMax, log });
    this.cache = new AnswerCache(cacheEntriesMax);
  }

  bind(client: Client, standing: Standing): BoundSource {
    const values = this.rows.values({ client });
    return values === undefined ? silent : new BoundLookup(this, client, standing, values);
  }

  /** Rules for these values, from the cache or the database. */
  find(values: readonly string[]): Fetched | Promise<Fetched> {
    const key = digestOf(values);
    const known = this.cache.get(key, Date.now()) ?? this.underWay.get(key);
    if (known !== undefined) return known;
    const answer = this.guard
      .run((signal) => this.rows.find(values, signal))
      .then((rows) => {
        // What cannot be used concerns one client, not the source.
        const rules = rows.flatMap((row) => this.rulesOf(row));
        const fetched = { rules, digest: digestOf(rows), untilMs: Date.now() + this.keepMs };
        if (this.keepMs > 0) this.cache.set(key, fetched, fetched.untilMs);
        return fetched;
      })
      .finally(() => this.underWay.delete(key));
    this.underWay.set(key, answer);
    return answer;
  }

  async open(): Promise<void> {
    this.guard.open();
  }

  close(): Promise<void> {
    this.guard.close();
    return goodbye(this.rows.close());
  }

  status(): SourceStatus {
    return this.guard.status(this.cache);
  }

  private rulesOf(row: Row): Rule[] {
    const origin = `rules of ${this.name}`;
    const { value } = row;
    // A set or list of Redis holds rules in JSON; a hash holds topics with actions.
    if (typeof value === 'string' && Object.keys(row).length === 1)
      return [compileRule(parseRule(JSON.parse(value)), origin)];
    if (this.type === 'redis' && row.topic === undefined && row.filter === undefined)
      return Object.entries(row).map(([topic, action]) => compileRule(parseRule(hashRule(topic, action)), origin));
    const topics = row.topics ?? row.filters;
    const input = parseRule({
      permission: textOf(row, 'permission', 'permit') ?? 'allow',
      action: textOf(row, 'action') ?? 'all',
      filters: Array.isArray(topics) ? topics : textOf(row, 'topic', 'filter'),
      qos: Array.isArray(row.qos) || typeof row.qos === 'number' ? row.qos : textOf(row, 'qos'),
      retain: textOf(row, 'retain'),
    });
    return [compileRule(input, origin)];
  }
}

const digestOf = (values: readonly unknown[]) => createHash('sha256').update(JSON.stringify(values)).digest('base64');

/** `publish`, or more in JSON. */
function hashRule(topic: string, action: unknown): Record<string, unknown> {
  const text = String(action);
  return text.startsWith('{') ? { ...JSON.parse(text), topic } : { topic, action: text };
}

class BoundLookup implements BoundSource {
  validUntilMs = Number.POSITIVE_INFINITY;
  private list: RuleList | undefined;
  private digest = '';

  constructor(
    private readonly source: LookupRules,
    private readonly client: Client,
    private readonly standing: Standing,
    private readonly values: readonly string[],
  ) {}

  ask(question: Question): Answer | Promise<Answer> {
    if (this.list !== undefined && Date.now() < this.validUntilMs) return this.list.ask(question);
    const found = this.source.find(this.values);
    if (!(found instanceof Promise)) return this.take(found).ask(question);
    return found.then((fetched) => this.take(fetched).ask(question));
  }

  peek(question: Question): Answer | 'unknown' {
    if (this.list === undefined || Date.now() >= this.validUntilMs) {
      const found = this.source.find(this.values);
      if (!(found instanceof Promise)) this.take(found);
      else
        found.then(
          (fetched) => this.take(fetched),
          () => {}, // the guard has told; until it answers, what was known counts
        );
    }
    if (this.list === undefined) return 'unknown';
    return this.list.ask(question);
  }

  private take({ rules, digest, untilMs }: Fetched): RuleList {
    this.validUntilMs = untilMs;
    if (this.list !== undefined && digest === this.digest) return this.list;
    const isChange = this.list !== undefined;
    this.list = bindRules(rules, this.client, this.standing);
    this.digest = digest;
    if (isChange) this.source.changed(this.client);
    return this.list;
  }
}

export class HttpRules implements AuthorizationSource {
  readonly name: string;
  readonly type = 'http';
  /** It is not asked about deliveries. */
  readonly governsReceive = false;
  private readonly call: HttpCall;
  private readonly http: HttpClient;
  private readonly guard: Guard;
  private readonly cache: AnswerCache<{ readonly answer: Answer; readonly untilMs: number }>;
  private readonly allowed: Verdict;
  private readonly refused: Verdict;

  constructor(
    private readonly options: HttpOptions,
    log: Logger,
  ) {
    const { name, timeoutMs, requestsMax, cacheEntriesMax, caFile } = options;
    this.name = name;
    this.call = new HttpCall(options, 'question');
    this.http = new HttpClient({ connectionsMax: requestsMax, caFile });
    this.guard = new Guard({ name, type: 'http', timeoutMs, runningMax: requestsMax, log });
    this.cache = new AnswerCache(cacheEntriesMax);
    this.allowed = { permit: true, origin: `answer of ${name}` };
    this.refused = { permit: false, origin: `answer of ${name}` };
  }

  bind(client: Client): BoundSource {
    const bound = {
      validUntilMs: Number.POSITIVE_INFINITY,
      ask: (question: Question): Answer | Promise<Answer> => {
        let request: HttpRequest | undefined;
        try {
          request = this.call.fill({ client, question });
        } catch (error) {
          return Promise.reject(error);
        }
        if (request === undefined) return undefined;
        const { action, topic, qos, retain } = question;
        const key = createHash('sha256')
          .update(JSON.stringify([request, client.clientId, client.username, action, topic, qos, retain]))
          .digest('base64');
        // A verdict is kept no longer than any answer that it may rest on: another source may still be asked, and other topics meanwhile.
        const holdsUntil = (untilMs: number) => {
          const { validUntilMs } = bound;
          bound.validUntilMs = validUntilMs > Date.now() ? Math.min(validUntilMs, untilMs) : untilMs;
        };
        const known = this.cache.get(key, Date.now());
        if (known !== undefined) {
          holdsUntil(known.untilMs);
          return known.answer;
        }
        return this.guard
          .run(async (signal) => resultOf(await this.http.send(request, signal)).result)
          .then((result) => {
            const answer = result === 'ignore' ? undefined : result === 'allow' ? this.allowed : this.refused;
            const { cacheSeconds, refusedCacheSeconds } = this.options;
            const seconds = result === 'allow' ? cacheSeconds : refusedCacheSeconds;
            const untilMs = Date.now() + seconds * 1000;
            holdsUntil(untilMs);
            if (seconds > 0) this.cache.set(key, { answer, untilMs }, untilMs);
            return answer;
          });
      },
      peek: (): Answer => undefined,
    };
    return bound;
  }

  async open(): Promise<void> {
    this.guard.open();
  }

  async close(): Promise<void> {
    this.guard.close();
    this.http.close();
  }

  status(): SourceStatus {
    return this.guard.status(this.cache);
  }
}
