/** One link of the chain: rules for a client, or an answer to each question. */
import type { Client } from '../policy.js';
import type { Question } from '../sources/facts.js';
import type { SourceStatus } from '../sources/guard.js';
import type { Answer } from './rule.js';
import type { Standing } from './who.js';

export interface AuthorizationSource {
  readonly name: string;
  readonly type: string;
  /** Whether it may forbid a delivery. */
  readonly governsReceive: boolean;
  bind(client: Client, standing: Standing): BoundSource;
  open?(): Promise<void>;
  /** As `open`, without making anything; absent where `open` makes nothing. */
  check?(): Promise<void>;
  /** Reads again what has changed of its files. */
  look?(): void;
  close?(): Promise<void>;
  status(): SourceStatus;
}

/** A source with one client in mind. */
export interface BoundSource {
  /** Rejects with SourceUnavailable when the source gives no answer. */
  ask(question: Question): Answer | Promise<Answer>;
  /** What is known without asking outside the process; `ask` where it is absent. */
  peek?(question: Question): Answer | 'unknown';
  /** Until when its answers hold, milliseconds since the Unix epoch; absent: until the rules change. */
  readonly validUntilMs?: number;
  askUnsubscribe?(topicFilter: string): Answer;
}
