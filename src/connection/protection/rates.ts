/**
 * Limits on the rate of messages: what clients publish, and what is delivered to them, for each client, user, listener, or for the broker
 * as a whole.
 *
 * A client that no rule concerns has no `ClientRates` and pays nothing. Rules can be replaced while clients are connected.
 */
import { TokenBucket } from '../../base/index.js';
import type { Client } from '../../policy/index.js';

export const rateScopes = ['client', 'user', 'listener', 'broker'] as const;
export type RateScope = (typeof rateScopes)[number];

/** What becomes of a message above the rate. `delay` reads no more from its publisher, or leaves it in the queue of its receiver. */
export const rateOutcomes = ['delay', 'drop', 'quotaExceeded', 'disconnect'] as const;
export type RateOutcome = (typeof rateOutcomes)[number];

export interface RateRule {
  readonly direction: 'publish' | 'deliver';
  /** Who shares the rate. */
  readonly scope: RateScope;
  /** Listeners that it concerns; empty is all. */
  readonly listeners: readonly string[];
  /** Users that it concerns; empty is all. */
  readonly usernames: readonly string[];
  /** 0 is no limit. */
  readonly messagesPerSecond: number;
  /** Of whole packets; 0 is no limit. */
  readonly bytesPerSecond: number;
  /** How long the rate may have been saved up for a burst. */
  readonly burstSeconds: number;
  readonly outcome: RateOutcome;
}

/** A timer of the runtime that is to wait longer does not wait at all. */
const WAIT_MS_MAX = 2 ** 31 - 1;

/** The buckets of one rule that some clients share. */
class Share {
  private readonly messages: TokenBucket | undefined;
  private readonly bytes: TokenBucket | undefined;

  constructor(
    readonly rule: RateRule,
    nowMs: number,
  ) {
    const { messagesPerSecond, bytesPerSecond, burstSeconds } = rule;
    if (messagesPerSecond > 0)
      this.messages = new TokenBucket(messagesPerSecond, Math.max(1, messagesPerSecond * burstSeconds), nowMs);
    if (bytesPerSecond > 0)
      this.bytes = new TokenBucket(bytesPerSecond, Math.max(1, bytesPerSecond * burstSeconds), nowMs);
  }

  ready(nowMs: number): boolean {
    return this.messages?.ready(nowMs) !== false && this.bytes?.ready(nowMs) !== false;
  }

  spend(messages: number, bytes: number, nowMs: number): void {
    this.messages?.spend(messages, nowMs);
    this.bytes?.spend(bytes, nowMs);
  }

  waitMs(nowMs: number): number {
    return Math.min(Math.max(this.messages?.waitMs(nowMs) ?? 0, this.bytes?.waitMs(nowMs) ?? 0), WAIT_MS_MAX);
  }

  isFull(nowMs: number): boolean {
    return this.messages?.isFull(nowMs) !== false && this.bytes?.isFull(nowMs) !== false;
  }
}

/** The rates that concern one client. */
export class ClientRates {
  /** Some rule asks for a verdict on each message, rather than for a wait after some. */
  readonly strict: boolean;
  /** The log has it that the client was above one of them. */
  told = false;

  constructor(
    private readonly publishing: readonly Share[],
    private readonly delivering: readonly Share[],
  ) {
    this.strict = publishing.some(({ rule }) => rule.outcome !== 'delay');
  }

  /** What becomes of a message that the client publishes now; undefined is nothing out of the ordinary. */
  refusal(nowMs: number): RateOutcome | undefined {
    for (const share of this.publishing)
      if (share.rule.outcome !== 'delay' && !share.ready(nowMs)) return share.rule.outcome;
    return undefined;
  }

  /** Counts what the client published. Returns how long it is not to be read, milliseconds. */
  published(messages: number, bytes: number, nowMs: number): number {
    let wait = 0;
    for (const share of this.publishing) {
      share.spend(messages, bytes, nowMs);
      if (share.rule.outcome === 'delay') wait = Math.max(wait, share.waitMs(nowMs));
    }
    return wait;
  }

  /** How long nothing is to be delivered to the client, milliseconds. */
  deliveryWaitMs(nowMs: number): number {
    let wait = 0;
    for (const share of this.delivering) wait = Math.max(wait, share.waitMs(nowMs));
    return wait;
  }

  get limitsDelivery(): boolean {
    return this.delivering.length > 0;
  }

  delivered(messages: number, bytes: number, nowMs: number): void {
    for (const share of this.delivering) share.spend(messages, bytes, nowMs);
  }
}

/** Shares that nobody has drawn on lately are let go of when there are more than this. */
const SHARES_KEPT = 10_000;

export class Rates {
  private rules: readonly RateRule[];
  private shares = new Map<string, Share | WeakRef<Share>>();
  private sweepAt = SHARES_KEPT;

  constructor(
    rules: readonly RateRule[],
    private readonly nowMs: () => number,
  ) {
    this.rules = rules;
  }

  /** The rules from now on. Returns whether they are others; then every client is to ask for its rates again. */
  replace(rules: readonly RateRule[]): boolean {
    if (JSON.stringify(rules) === JSON.stringify(this.rules)) return false;
    this.rules = rules;
    this.shares = new Map();
    this.sweepAt = SHARES_KEPT;
    return true;
  }

  /** The rates of a client; undefined when no rule concerns it. */
  of(client: Client): ClientRates | undefined {
    const publishing: Share[] = [];
    const delivering: Share[] = [];
    for (const [index, rule] of this.rules.entries()) {
      if (rule.listeners.length > 0 && !rule.listeners.includes(client.listener)) continue;
      if (rule.usernames.length > 0 && !rule.usernames.includes(client.username ?? '')) continue;
      if (rule.messagesPerSecond === 0 && rule.bytesPerSecond === 0) continue;
      (rule.direction === 'publish' ? publishing : delivering).push(this.share(index, rule, client));
    }
    return publishing.length + delivering.length === 0 ? undefined : new ClientRates(publishing, delivering);
  }

  private share(index: number, rule: RateRule, client: Client): Share {
    const member = {
      // By identifier: a client that comes back at once has no new allowance.
      client: client.clientId,
      user: client.username ?? '',
      listener: client.listener,
      broker: '',
    }[rule.scope];
    const key = `${index}\0${member}`;
    const kept = this.shares.get(key);
    const found = kept instanceof WeakRef ? kept.deref() : kept;
    if (found !== undefined && found === kept) return found;
    if (this.shares.size >= this.sweepAt) this.sweep();
    const share = found ?? new Share(rule, this.nowMs());
    this.shares.set(key, share);
    return share;
  }

  /** Lets go of shares that are as new; a connection that still has one keeps it for those that come to share it. */
  private sweep(): void {
    const now = this.nowMs();
    for (const [key, kept] of this.shares) {
      if (kept instanceof WeakRef) {
        if (kept.deref() === undefined) this.shares.delete(key);
      } else if (kept.isFull(now)) this.shares.set(key, new WeakRef(kept));
    }
    this.sweepAt = Math.max(SHARES_KEPT, 2 * this.shares.size);
  }
}
