/**
 * Who takes part in a crash run, of both versions: publishers, subscribers that stay, that come and go, that take their own
 * session over or stay away, two shared groups, clients with wills. And what each subscriber has to receive.
 */

import type { QoS } from '../../src/protocol/index.js';
import { type ClientPlan, type ClientWorld, CrashClient } from './crash-client.js';
import { Flow, GroupInbox, Inbox } from './crash-flow.js';

/** What a client does of its own accord while the broker runs. */
export type Habit = 'stay' | 'wander' | 'takeOver' | 'away';

export interface Member {
  readonly client: CrashClient;
  readonly habit: Habit;
  /** Flows that it publishes. */
  readonly flows: readonly Flow[];
  /** Milliseconds of `performance.now()` at which it does the next thing. */
  next: number;
}

const PUBLISHERS = 4;
const RETAINING = 2;
export const SHARE = /^\$share\/[^/]+\//;

const subscribers: (ClientPlan & { habit: Habit })[] = [
  { clientId: 'steady5', version: 5, subscriptions: [{ topicFilter: 'load/#', qos: 2 }], habit: 'stay' },
  {
    clientId: 'steady4',
    version: 4,
    subscriptions: [{ topicFilter: 'load/#', qos: 2 }],
    ackDelayMsMax: 40,
    habit: 'stay',
  },
  {
    clientId: 'narrow5',
    version: 5,
    subscriptions: [{ topicFilter: 'load/p1/#', qos: 2 }],
    receiveMaximum: 5,
    ackDelayMsMax: 10,
    habit: 'stay',
  },
  { clientId: 'once5', version: 5, subscriptions: [{ topicFilter: 'load/+/+', qos: 1 }], habit: 'wander' },
  { clientId: 'wander5', version: 5, subscriptions: [{ topicFilter: 'load/+/2', qos: 2 }], habit: 'wander' },
  {
    clientId: 'wander4',
    version: 4,
    subscriptions: [{ topicFilter: 'load/#', qos: 2 }],
    ackDelayMsMax: 30,
    habit: 'wander',
  },
  { clientId: 'taken5', version: 5, subscriptions: [{ topicFilter: 'load/p2/#', qos: 2 }], habit: 'takeOver' },
  { clientId: 'taken4', version: 4, subscriptions: [{ topicFilter: 'load/p1/2', qos: 2 }], habit: 'takeOver' },
  { clientId: 'away5', version: 5, subscriptions: [{ topicFilter: 'load/p3/#', qos: 2 }], habit: 'away' },
  { clientId: 'away4', version: 4, subscriptions: [{ topicFilter: 'load/p4/+', qos: 2 }], habit: 'away' },
  { clientId: 'share1', version: 5, subscriptions: [{ topicFilter: '$share/g/load/#', qos: 2 }], habit: 'stay' },
  { clientId: 'share2', version: 4, subscriptions: [{ topicFilter: '$share/g/load/#', qos: 2 }], habit: 'wander' },
  { clientId: 'share3', version: 5, subscriptions: [{ topicFilter: '$share/g/load/#', qos: 2 }], habit: 'wander' },
  { clientId: 'alone5', version: 5, subscriptions: [{ topicFilter: '$share/h/load/p4/#', qos: 2 }], habit: 'wander' },
];

export class Population {
  readonly flows: Flow[] = [];
  readonly retainedFlows: Flow[] = [];
  readonly members: Member[] = [];
  private readonly flowOf = new Map<string, Flow>();
  private readonly inboxes = new Map<CrashClient, Map<Flow, Inbox>>();
  private readonly groups = new Map<string, Map<Flow, GroupInbox>>();

  constructor(private readonly world: ClientWorld) {
    for (let number = 1; number <= PUBLISHERS; number++) {
      const name = `p${number}`;
      const flows = ([1, 2] as const).map((qos) => this.addFlow(`${name}/${qos}`, `load/${name}/${qos}`, qos, false));
      this.add({ clientId: name, version: number % 2 === 1 ? 5 : 4, window: 12 }, 'stay', flows);
    }
    for (let number = 1; number <= RETAINING; number++) {
      const flows = ['a', 'b', 'c'].map((leaf) =>
        this.addFlow(`r${number}/${leaf}`, `retained/r${number}/${leaf}`, 1, true),
      );
      this.add({ clientId: `r${number}`, version: number % 2 === 1 ? 5 : 4, window: 6 }, 'stay', flows);
    }
    for (const { habit, ...plan } of subscribers) this.add(plan, habit, []);
    this.add(
      { clientId: 'executor', version: 5, subscriptions: [{ topicFilter: 'will/#', qos: 2 }], ackDelayMsMax: 10 },
      'stay',
      [],
    );
  }

  add(plan: ClientPlan, habit: Habit, flows: readonly Flow[]): Member {
    const member: Member = { client: new CrashClient(plan, this.world), habit, flows, next: 0 };
    this.members.push(member);
    for (const { topicFilter, qos } of plan.subscriptions ?? []) this.expect(member.client, topicFilter, qos);
    return member;
  }

  /** From here on nothing is expected of it any more. */
  remove(member: Member): void {
    this.members.splice(this.members.indexOf(member), 1);
    this.inboxes.delete(member.client);
  }

  /** Everything sent from now on is due, if it was not before. */
  subscribed(client: CrashClient): void {
    for (const inbox of this.inboxes.get(client)?.values() ?? []) inbox.due = Math.min(inbox.due, inbox.flow.sent + 1);
  }

  /** Returns what is wrong with an arrival, or undefined. */
  arrive(client: CrashClient, topicName: string, payload: Uint8Array): string | undefined {
    const flow = this.flowOf.get(topicName);
    const sequence = flow?.sequenceOf(payload);
    if (flow === undefined || sequence === undefined)
      return `damaged: ${client.clientId} got ${payload.length} bytes on ${topicName} that nobody sent, beginning ${JSON.stringify(Buffer.from(payload).toString('latin1', 0, 40))}`;
    const share = shareOf(client.plan);
    if (share !== undefined) {
      const inbox = this.groups.get(share)?.get(flow);
      return inbox === undefined ? this.stray(client, topicName) : inbox.arrive(sequence, client.clientId);
    }
    const inbox = this.inboxes.get(client)?.get(flow);
    return inbox === undefined ? this.stray(client, topicName) : inbox.arrive(sequence);
  }

  get complete(): boolean {
    return this.allInboxes().every((inbox) => inbox.complete) && this.members.every(({ client }) => client.settled);
  }

  /** What is missing, in words. */
  problems(): string[] {
    const lost = this.allInboxes().flatMap((inbox) => {
      const receiver = inbox instanceof Inbox ? inbox.receiver : inbox.group;
      const numbers = inbox.lost();
      if (numbers.length === 0) return [];
      const { flow } = inbox;
      const acknowledged = numbers.filter((number) => number <= flow.acknowledged).length;
      const last = numbers.length > 1 ? `, the last ${flow.describe(numbers.at(-1)!)}` : '';
      return [
        `lost: ${receiver} never got ${numbers.length} of ${flow.name} (${acknowledged} acknowledged), the first ${flow.describe(numbers[0]!)}${last}`,
      ];
    });
    return [...lost, ...this.members.flatMap(({ client }) => client.describeUnsettled().slice(0, 3))];
  }

  private allInboxes(): (Inbox | GroupInbox)[] {
    return [...this.inboxes.values(), ...this.groups.values()].flatMap((inboxes) => [...inboxes.values()]);
  }

  private addFlow(name: string, topicName: string, qos: QoS, retain: boolean): Flow {
    const flow = new Flow(name, topicName, qos, retain);
    (retain ? this.retainedFlows : this.flows).push(flow);
    this.flowOf.set(topicName, flow);
    return flow;
  }

  private expect(client: CrashClient, topicFilter: string, qos: QoS): void {
    const plain = topicFilter.replace(SHARE, '');
    const share = shareOf(client.plan);
    const matching = this.flows.filter(({ topicName }) => matches(plain, topicName));
    if (share !== undefined) {
      this.groups.set(
        share,
        new Map(matching.map((flow) => [flow, new GroupInbox(share, flow, qos === 2 && flow.qos === 2)])),
      );
      return;
    }
    this.inboxes.set(
      client,
      new Map(matching.map((flow) => [flow, new Inbox(client.clientId, flow, qos === 2 && flow.qos === 2)])),
    );
  }

  /** A member that was removed may still get what was under way. */
  private stray(client: CrashClient, topicName: string): string | undefined {
    if (!this.members.some((member) => member.client === client)) return undefined;
    return `stray: ${client.clientId} got ${topicName}, to which it has not subscribed`;
  }
}

/** Group and filter of a client with a shared subscription. */
function shareOf(plan: ClientPlan): string | undefined {
  return plan.subscriptions?.find(({ topicFilter }) => SHARE.test(topicFilter))?.topicFilter;
}

/** Whole levels only, as the filters above are. */
function matches(topicFilter: string, topicName: string): boolean {
  const names = topicName.split('/');
  const filters = topicFilter.split('/');
  return (
    filters.every((level, index) => level === '#' || level === '+' || level === names[index]) &&
    (filters.at(-1) === '#' || filters.length === names.length)
  );
}
