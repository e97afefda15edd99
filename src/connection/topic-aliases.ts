/**
 * Topic aliases of one connection, each way (v5 §3.3.2.3.4). They live and end with the connection [MQTT-3.3.2-7].
 */
import { ProtocolFailure, ReasonCode } from '../protocol/index.js';
import type { TopicEntry } from '../router/index.js';

/** The aliases a client has set towards the broker. */
export class AliasesFromClient {
  private readonly entries: (TopicEntry | undefined)[] = [];

  constructor(private readonly maximum: number) {}

  set(alias: number, entry: TopicEntry): void {
    this.check(alias);
    this.entries[alias] = entry;
  }

  get(alias: number): TopicEntry {
    this.check(alias);
    const entry = this.entries[alias];
    if (entry === undefined)
      throw new ProtocolFailure(
        ReasonCode.ProtocolError,
        'v5 §3.3.2.3.4',
        `PUBLISH Topic Alias ${alias} was never set`,
      );
    return entry;
  }

  private check(alias: number): void {
    // [MQTT-3.3.2-9]
    if (alias > this.maximum)
      throw new ProtocolFailure(
        ReasonCode.TopicAliasInvalid,
        'MQTT-3.3.2-9',
        `PUBLISH Topic Alias ${alias} is above the maximum of ${this.maximum}`,
      );
  }
}

/** The aliases the broker sets towards a client: the first topics it sends, as many as the client allows. */
export class AliasesToClient {
  private readonly byTopic = new Map<string, number>();

  constructor(private readonly maximum: number) {}

  /** The alias of a topic, set or to be set now; 0 when it gets none [MQTT-3.3.2-11]. */
  peek(topicName: string): number {
    const alias = this.byTopic.get(topicName);
    if (alias !== undefined) return alias;
    return this.byTopic.size < this.maximum ? this.byTopic.size + 1 : 0;
  }

  isSet(alias: number): boolean {
    return alias <= this.byTopic.size;
  }

  set(alias: number, topicName: string): void {
    this.byTopic.set(topicName, alias);
  }
}
