/**
 * The chain of authorization: asks one source after the other until one decides, and keeps what was decided for a client by topic.
 *
 * Verdicts are kept in a map that hangs on the client and goes with it. A change of rules begins a new generation: what is kept from
 * before counts no more. Sources outside the process are waited for on a publish or subscription, never on a delivery.
 */
import type { Client } from '../policy.js';
import type { Question } from '../sources/facts.js';
import { type SourceStatus, SourceUnavailable } from '../sources/guard.js';
import type { Answer } from './rule.js';
import type { AuthorizationSource, BoundSource } from './source.js';
import type { Standing } from './who.js';

export type Decision = 'allow' | 'deny' | 'unavailable';

export interface ChainOptions {
  readonly noMatch: 'allow' | 'deny';
  readonly cacheTopicsMax: number;
  readonly standingOf: (client: Client) => Standing;
  /** Whether one who came in as a superuser is one still; left out: yes. */
  readonly isStillSuperuser?: (client: Client) => boolean;
  readonly nowMs?: () => number;
  /** By listener, the sources that count there; all of them elsewhere. */
  readonly byListener?: ReadonlyMap<string, readonly AuthorizationSource[]>;
}

/** What `explain` tells of one source. */
export interface ExplainedStep {
  readonly source: string;
  readonly type: string;
  readonly answer: 'allow' | 'deny' | 'next' | 'unavailable';
  /** The rule that decided. */
  readonly origin?: string;
}

/** Bits of what is kept for a topic: six kinds of publish and the delivery; the verdicts stand `ALLOWED` further up. */
const RECEIVE_BIT = 1 << 6;
const ALLOWED = 8;

interface ClientAccess {
  readonly generation: number;
  readonly bound: readonly BoundSource[];
  readonly known: Map<string, number>;
  validUntilMs: number;
}

export class AuthorizationChain {
  denied = 0;
  unavailable = 0;
  private generation = 0;
  private readonly clients = new WeakMap<Client, ClientAccess>();
  private readonly nowMs: () => number;

  constructor(
    public sources: readonly AuthorizationSource[],
    private options: ChainOptions,
  ) {
    this.nowMs = options.nowMs ?? Date.now;
  }

  /** These sources from now on, for questions too that wait for an answer of others. */
  replace(
    sources: readonly AuthorizationSource[],
    options: Pick<ChainOptions, 'noMatch' | 'cacheTopicsMax' | 'byListener'>,
  ): void {
    this.sources = sources;
    this.options = { ...this.options, ...options };
    this.changed();
  }

  get governsReceive(): boolean {
    return this.sources.some((source) => source.governsReceive);
  }

  /** Forgets what was decided. */
  changed(): void {
    this.generation++;
  }

  /** `counts`: whether a refusal is one of a client that wants something. */
  publish(
    client: Client,
    topicName: string,
    qos: number,
    retain: boolean,
    counts = true,
  ): Decision | Promise<Decision> {
    if (this.isSuperuser(client)) return 'allow';
    const access = this.accessOf(client);
    const bit = 1 << (qos * 2 + (retain ? 1 : 0));
    const known = this.knownOf(access, topicName);
    if ((known & bit) !== 0) return (known & (bit << ALLOWED)) !== 0 ? 'allow' : this.deny(counts);
    return this.decide(client, { action: 'publish', topic: topicName, qos, retain }, bit, counts);
  }

  subscribe(client: Client, topicFilter: string, qos: number): Decision | Promise<Decision> {
    if (this.isSuperuser(client)) return 'allow';
    return this.decide(client, { action: 'subscribe', topic: topicFilter, qos, retain: false }, 0);
  }

  /** Whether a delivery may go out; no match lets it, since its subscription was allowed. */
  receive(client: Client, topicName: string): boolean {
    if (this.isSuperuser(client)) return true;
    const access = this.accessOf(client);
    const known = this.knownOf(access, topicName);
    if ((known & RECEIVE_BIT) !== 0) return (known & (RECEIVE_BIT << ALLOWED)) !== 0;
    const question: Question = { action: 'receive', topic: topicName, qos: 0, retain: false };
    let certain = true;
    let permit = true;
    for (const source of access.bound) {
      const answer = source.peek === undefined ? (source.ask(question) as Answer) : source.peek(question);
      if (answer === 'unknown') certain = false;
      else if (answer !== undefined) {
        permit = answer.permit;
        break;
      }
    }
    if (certain) this.keep(access, topicName, RECEIVE_BIT, permit);
    return permit;
  }

  isSuperuser(client: Client): boolean {
    return client.identity?.superuser === true && (this.options.isStillSuperuser?.(client) ?? true);
  }

  unsubscribe(client: Client, topicFilter: string): boolean {
    if (this.isSuperuser(client)) return true;
    for (const source of this.accessOf(client).bound) {
      const answer = source.askUnsubscribe?.(topicFilter);
      if (answer !== undefined) return answer.permit;
    }
    return true;
  }

  /** Asks every source up to the one that decides, without keeping anything. */
  async explain(client: Client, question: Question): Promise<{ decision: Decision; steps: ExplainedStep[] }> {
    const steps: ExplainedStep[] = [];
    const { bound } = this.accessOf(client);
    for (const [index, { name, type }] of this.sourcesOf(client).entries()) {
      try {
        const answer = await bound[index]!.ask(question);
        if (answer === undefined) {
          steps.push({ source: name, type, answer: 'next' });
          continue;
        }
        const decision = answer.permit ? 'allow' : 'deny';
        steps.push({ source: name, type, answer: decision, origin: answer.origin });
        return { decision, steps };
      } catch (error) {
        if (!(error instanceof SourceUnavailable)) throw error;
        steps.push({ source: name, type, answer: 'unavailable', origin: error.message });
        return { decision: 'unavailable', steps };
      }
    }
    return { decision: question.action === 'receive' ? 'allow' : this.options.noMatch, steps };
  }

  async open(): Promise<void> {
    for (const source of this.sources) await source.open?.();
  }

  async close(): Promise<void> {
    await Promise.all(this.sources.map((source) => source.close?.()));
  }

  status(): SourceStatus[] {
    return this.sources.map((source) => source.status());
  }

  private decide(client: Client, question: Question, bit: number, counts = true): Decision | Promise<Decision> {
    const access = this.accessOf(client);
    const answer = this.ask(access.bound, question, 0);
    if (!(answer instanceof Promise)) return this.settle(access, question, bit, answer, counts);
    // What was decided while the rules changed may be an answer of the former ones.
    const outdated = () => access.generation !== this.generation;
    return answer.then(
      (known) =>
        outdated() ? this.decide(client, question, bit, counts) : this.settle(access, question, bit, known, counts),
      (error: unknown) => {
        if (outdated()) return this.decide(client, question, bit, counts);
        if (!(error instanceof SourceUnavailable)) throw error;
        if (counts) this.unavailable++;
        return 'unavailable';
      },
    );
  }

  private ask(bound: readonly BoundSource[], question: Question, from: number): Answer | Promise<Answer> {
    for (let index = from; index < bound.length; index++) {
      const answer = bound[index]!.ask(question);
      if (answer instanceof Promise) return answer.then((known) => known ?? this.ask(bound, question, index + 1));
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  private settle(access: ClientAccess, { topic }: Question, bit: number, answer: Answer, counts: boolean): Decision {
    // Nobody administers the broker because nothing was said about it.
    const permit = answer?.permit ?? (this.options.noMatch === 'allow' && !topic.startsWith('$CONTROL/'));
    if (bit !== 0) this.keep(access, topic, bit, permit);
    return permit ? 'allow' : this.deny(counts);
  }

  private deny(counts: boolean): Decision {
    if (counts) this.denied++;
    return 'deny';
  }

  private sourcesOf({ listener }: Client): readonly AuthorizationSource[] {
    return this.options.byListener?.get(listener) ?? this.sources;
  }

  private accessOf(client: Client): ClientAccess {
    const access = this.clients.get(client);
    if (access !== undefined && access.generation === this.generation) return access;
    const standing = this.options.standingOf(client);
    const fresh: ClientAccess = {
      generation: this.generation,
      bound: this.sourcesOf(client).map((source) => source.bind(client, standing)),
      known: new Map(),
      validUntilMs: Number.POSITIVE_INFINITY,
    };
    this.clients.set(client, fresh);
    return fresh;
  }

  private knownOf(access: ClientAccess, topicName: string): number {
    if (access.validUntilMs !== Number.POSITIVE_INFINITY && access.validUntilMs <= this.nowMs()) {
      access.known.clear();
      access.validUntilMs = Number.POSITIVE_INFINITY;
    }
    return access.known.get(topicName) ?? 0;
  }

  private keep(access: ClientAccess, topicName: string, bit: number, permit: boolean): void {
    const { cacheTopicsMax } = this.options;
    if (cacheTopicsMax === 0) return;
    for (const { validUntilMs } of access.bound)
      if (validUntilMs !== undefined && validUntilMs < access.validUntilMs) access.validUntilMs = validUntilMs;
    const { known } = access;
    if (known.size >= cacheTopicsMax && !known.has(topicName)) known.clear();
    known.set(topicName, (known.get(topicName) ?? 0) | bit | (permit ? bit << ALLOWED : 0));
  }
}
