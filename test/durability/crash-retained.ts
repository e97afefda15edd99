/**
 * Retained messages with rising numbers, every fifth of them empty (which removes what is retained): a new subscriber sees one
 * of the states between the last acknowledged message and the last one sent.
 */
import type { PublishPacket } from '../../src/protocol/index.js';
import { type ClientWorld, CrashClient } from './crash-client.js';
import type { Flow } from './crash-flow.js';

export const RETAINED_FILTER = 'retained/#';

export class RetainedProbe {
  readonly client: CrashClient;
  /** When it asked: below this no value may be. */
  private readonly floor = new Map<Flow, number>();
  private readonly seen = new Set<Flow>();

  constructor(
    clientId: string,
    private readonly flows: readonly Flow[],
    world: ClientWorld,
  ) {
    this.client = new CrashClient(
      { clientId, version: 5, subscriptions: [{ topicFilter: RETAINED_FILTER, qos: 1 }] },
      {
        ...world,
        message: (_, packet) => {
          const problem = this.take(packet);
          if (problem !== undefined) world.violation(problem);
        },
        subscribed: () => {},
      },
    );
  }

  /** Asks for everything retained, in a session that ends with the connection. */
  connect(): Promise<void> {
    for (const flow of this.flows) this.floor.set(flow, flow.acknowledged);
    return this.client.connect({ cleanStart: true, brief: true });
  }

  /** The topics for which nothing has come. */
  private absent(): Flow[] {
    return this.flows.filter((flow) => !this.seen.has(flow));
  }

  /** With everything acknowledged and answered: what is retained is exactly the last message of each topic. */
  get complete(): boolean {
    return this.problems().length === 0;
  }

  problems(): string[] {
    return this.absent()
      .filter((flow) => flow.sent > 0 && !flow.clears(flow.sent))
      .map((flow) => `lost: nothing is retained on ${flow.topicName}, where ${flow.describe(flow.sent)} should be`);
  }

  private take(packet: PublishPacket): string | undefined {
    const flow = this.flows.find(({ topicName }) => topicName === packet.topicName);
    if (flow === undefined) return `retained: ${packet.topicName} was never published to`;
    // What came because it was published just now is another matter.
    if (!packet.retain) return undefined;
    if (this.seen.has(flow)) return `doubled: ${packet.topicName} came twice as retained`;
    this.seen.add(flow);
    const sequence = flow.sequenceOf(packet.payload);
    if (sequence === undefined)
      return `damaged: ${packet.topicName} retains ${JSON.stringify(Buffer.from(packet.payload).toString('latin1', 0, 40))}`;
    const floor = this.floor.get(flow) ?? 0;
    if (sequence < floor)
      return `lost: ${packet.topicName} retains ${flow.describe(sequence)}, but #${floor} was acknowledged before the question`;
    return undefined;
  }
}
