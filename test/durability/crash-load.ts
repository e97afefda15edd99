/**
 * A crash run: the population works, the broker dies at random moments and comes back on the same folder, everybody resumes;
 * in the end everything is drained and compared.
 *
 *   life 1: all subscribe · life n: connect, work, die (in its start, among the reconnecting clients, or at work) · drain
 *
 * The first thing that is wrong ends the dying, so that the data folder is close to the fault.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../src/base/random.fuzz.js';
import { CrashBroker } from './crash-broker.js';
import { type ClientWorld, CrashClient } from './crash-client.js';
import { type Member, Population } from './crash-population.js';
import { RetainedProbe } from './crash-retained.js';
import { DELAY_LONG_SECONDS, Wills } from './crash-wills.js';

export interface CrashOptions {
  /** Of `storage.mode`. */
  readonly mode: string;
  readonly kills: number;
  readonly seed: number;
  /**
   * `kill` ends the process (now and then with SIGTERM); `cut` only breaks all connections at once, which a broker without
   * storage has to survive as well.
   */
  readonly means: 'kill' | 'cut';
  /** How long nothing may move before what is missing counts as lost. */
  readonly patienceMs?: number;
}

export interface CrashOutcome {
  /** Empty when nothing is wrong. */
  readonly violations: string[];
  /** Kept, with the broker's log in it, when something is wrong; else gone. */
  readonly folder: string;
  readonly summary: string;
}

const TICK_MS = 4;
const PATIENCE_MS = 20_000;
const START_PATIENCE_MS = 60_000;
const QUIET_MS = 300;
const VIOLATIONS_MAX = 200;
const WORK_MS = { least: 5, most: 400 } as const;
const STORM_MS = 60;
const JOINERS_MAX = 8;

export function runCrash(options: CrashOptions): Promise<CrashOutcome> {
  return new CrashRun(options).run();
}

class CrashRun {
  private readonly random: Random;
  private readonly broker: CrashBroker;
  private readonly population: Population;
  private readonly wills: Wills;
  private readonly world: ClientWorld;
  private readonly violations: string[] = [];
  /** Clients with a will; the last of them has a delay of an hour and always comes back. */
  private readonly mortals: { client: CrashClient; delaySeconds: number; next: number }[] = [];
  private readonly joiners: Member[] = [];
  /** Sessions that were ended and must stay so. */
  private ghosts: CrashClient[] = [];
  private probes: RetainedProbe[] = [];
  /** Everybody that may have a socket, once. */
  private readonly others = new Set<CrashClient>();
  private working: NodeJS.Timeout | undefined;
  private names = 0;
  private delivered = 0;
  private progress = 0;
  private startMs = 300;
  private readonly ends = { start: 0, storm: 0, work: 0, stop: 0 };

  constructor(private readonly options: CrashOptions) {
    this.random = new Random(options.seed);
    this.broker = new CrashBroker(options.mode, (text) => this.violation(text));
    this.world = {
      random: this.random,
      port: () => this.broker.port,
      brokerRuns: () => this.broker.runs,
      violation: (text) => this.violation(text),
      message: (client, { topicName, payload }) => {
        this.delivered++;
        this.progress++;
        if (topicName.startsWith('will/')) return this.wills.arrive(topicName, Buffer.from(payload).toString());
        const problem = this.population.arrive(client, topicName, payload);
        if (problem !== undefined) this.violation(problem);
      },
      acknowledged: (_, flow, sequence) => {
        this.progress++;
        flow.acknowledge(sequence);
      },
      subscribed: (client) => this.population.subscribed(client),
    };
    this.population = new Population(this.world);
    this.wills = new Wills((text) => this.violation(text));
    for (const [version, delaySeconds] of [
      [5, 0],
      [4, 0],
      [5, 1],
      [5, DELAY_LONG_SECONDS],
    ] as const)
      this.addMortal(version, delaySeconds);
  }

  async run(): Promise<CrashOutcome> {
    try {
      if (await this.start()) {
        await this.connectAll(this.population.members);
        for (const { client, habit } of this.population.members) if (habit === 'away') client.leave();
        this.startWork();
        await sleep(WORK_MS.most);
        await this.untilDone(() => this.population.flows.every(({ acknowledged }) => acknowledged > 0));
        await this.die('work');
        for (let kill = 1; kill < this.options.kills && this.fine; kill++) await this.live();
        await this.drain();
      }
    } finally {
      this.stopWork();
      await this.broker.kill();
      for (const client of this.everybody()) client.destroy();
    }
    const { violations } = this;
    this.broker.dispose(violations.length > 0);
    return { violations, folder: this.broker.folder, summary: this.summary() };
  }

  private get fine(): boolean {
    return this.violations.length === 0;
  }

  /** One life of the broker, from its start to its end. */
  private async live(): Promise<void> {
    const { random, broker } = this;
    const kills = this.options.means === 'kill';
    if (kills && random.oneIn(6)) {
      this.ends.start++;
      const up = broker.start();
      await sleep(random.below(Math.round(this.startMs * 1.2)));
      await broker.kill();
      await up;
      return;
    }
    if (kills && !(await this.start())) return;
    if (random.oneIn(6)) {
      for (const { client, habit } of this.population.members) if (habit !== 'away') void client.connect();
      await sleep(random.below(STORM_MS));
      return this.die('storm');
    }
    await this.connectAll(this.population.members.filter(({ habit }) => habit !== 'away'));
    if (!this.fine) return this.die('work');
    this.startWork();
    if (random.oneIn(3)) this.probe();
    this.exorcise();
    await sleep(WORK_MS.least + random.below(WORK_MS.most - WORK_MS.least));
    await this.die(kills && random.oneIn(10) ? 'stop' : 'work');
  }

  private async start(): Promise<boolean> {
    const { broker } = this;
    const from = performance.now();
    const up = await withPatience(broker.start(), START_PATIENCE_MS);
    if (up === 'late') this.violation(`the broker does not listen after ${START_PATIENCE_MS / 1000} s`);
    else if (up) this.startMs = performance.now() - from;
    return up === true;
  }

  private async connectAll(members: readonly Member[]): Promise<void> {
    const all = Promise.all(members.map(({ client }) => client.connect()));
    if ((await withPatience(all, PATIENCE_MS)) !== 'late') return;
    const waiting = members.filter(({ client }) => !client.online).map(({ client }) => client.clientId);
    this.violation(`after ${PATIENCE_MS / 1000} s no CONNACK or SUBACK for ${waiting.join(', ') || 'some'}`);
  }

  /** Ends the broker's life and cleans up what that leaves behind: sockets, wills that are due. */
  private async die(how: 'storm' | 'work' | 'stop'): Promise<void> {
    const { broker } = this;
    this.stopWork();
    this.ends[how]++;
    if (this.options.means === 'cut') {
      broker.expectBreaks();
      for (const client of this.everybody()) client.destroy();
    } else if (how === 'stop') await broker.stop();
    else await broker.kill();
    const clients = this.everybody();
    const deadline = performance.now() + PATIENCE_MS;
    while (clients.some((client) => client.openSockets > 0) && performance.now() < deadline) await sleep(1);
    for (const client of clients) client.destroy();
    for (const { client } of this.mortals)
      if (how === 'stop') this.wills.leaves(client);
      else this.wills.broken(client);
    this.renewMortals();
    for (const flow of [...this.population.flows, ...this.population.retainedFlows]) flow.endOfLife();
    broker.note(`clients are off; ${this.summary()}`);
    this.probes = [];
    if (this.options.means === 'cut') broker.resume();
  }

  private startWork(): void {
    this.working = setInterval(() => this.tick(), TICK_MS);
  }

  private stopWork(): void {
    clearInterval(this.working);
    this.working = undefined;
  }

  private tick(): void {
    const { random } = this;
    if (!this.broker.runs || !this.fine) return;
    const now = performance.now();
    for (const member of this.population.members) {
      if (member.flows.length > 0) this.publishSome(member);
      if (member.habit !== 'stay' && member.habit !== 'away' && now >= member.next) this.move(member, now);
    }
    for (const mortal of this.mortals) if (now >= mortal.next) this.liveOrDie(mortal, now);
    if (this.joiners.length < JOINERS_MAX && random.oneIn(60)) this.join();
    if (random.oneIn(100)) this.dismiss();
  }

  private publishSome({ client, flows }: Member): void {
    for (let count = this.random.below(4); count > 0 && client.mayPublish; count--)
      client.publish(this.random.pick(flows));
  }

  private move(member: Member, now: number): void {
    const { random } = this;
    const { client, habit } = member;
    member.next = now + 10 + random.below(150);
    if (!client.online || habit === 'takeOver') void client.connect();
    else if (random.oneIn(2)) client.drop();
    else client.leave();
  }

  private liveOrDie(mortal: { client: CrashClient; delaySeconds: number; next: number }, now: number): void {
    const { random } = this;
    mortal.next = now + 5 + random.below(150);
    const { client, delaySeconds } = mortal;
    if (!client.online) {
      if (client.openSockets === 0)
        void this.wills.connect(client, delaySeconds, random.oneIn(2) ? 1 : 2, this.broker.starts);
      return;
    }
    if (random.oneIn(3)) return;
    if (random.oneIn(2)) {
      this.wills.broken(client);
      client.drop();
    } else {
      this.wills.leaves(client);
      client.leave();
    }
    if (delaySeconds === 1) this.renewMortals();
  }

  /** A client that came back within the delay of its will would keep it from coming: each gets a new one. */
  private renewMortals(): void {
    for (const mortal of this.mortals) if (mortal.delaySeconds === 1) mortal.client = this.newMortal(5, 1);
  }

  private addMortal(version: 4 | 5, delaySeconds: number): void {
    this.mortals.push({ client: this.newMortal(version, delaySeconds), delaySeconds, next: 0 });
  }

  private newMortal(version: 4 | 5, delaySeconds: number): CrashClient {
    const client = new CrashClient({ clientId: `mortal${++this.names}-${delaySeconds}s`, version }, this.world);
    this.others.add(client);
    return client;
  }

  /** A new persistent subscriber in the middle of it all. */
  private join(): void {
    const { random } = this;
    const topicFilter = `load/p${1 + random.below(4)}/#`;
    const plan = {
      clientId: `joiner${++this.names}`,
      version: random.pick([4, 5] as const),
      subscriptions: [{ topicFilter, qos: 2 as const }],
    };
    const member = this.population.add(plan, 'stay', []);
    this.joiners.push(member);
    void member.client.connect();
  }

  /** A session ends for good: CONNECT with Clean Start, and no expiry. */
  private dismiss(): void {
    const member = this.joiners.find(({ client }) => client.online && client.isSubscribed);
    if (member === undefined) return;
    this.joiners.splice(this.joiners.indexOf(member), 1);
    this.population.remove(member);
    const { client } = member;
    this.others.add(client);
    void client.connect({ cleanStart: true, brief: true }).then(() => {
      if (!client.online) return;
      if (client.sessionPresent) this.violation(`${client.clientId}: Session Present is 1 after Clean Start`);
      this.ghosts.push(new CrashClient({ clientId: client.clientId, version: client.version }, this.world));
      client.drop();
    });
  }

  /** Sessions that ended must not be there after a restart. */
  private exorcise(): void {
    const { ghosts } = this;
    this.ghosts = [];
    for (const ghost of ghosts) {
      this.others.add(ghost);
      void ghost.connect().then(() => {
        if (ghost.online && ghost.sessionPresent)
          this.violation(`${ghost.clientId}: its session, ended with Clean Start, is there again`);
      });
    }
  }

  private probe(): RetainedProbe {
    const probe = new RetainedProbe(`probe${++this.names}`, this.population.retainedFlows, this.world);
    this.probes.push(probe);
    this.others.add(probe.client);
    void probe.connect();
    return probe;
  }

  /** The last life: everybody comes, nobody sends anything new, until everything has arrived or nothing moves any more. */
  private async drain(): Promise<void> {
    if (this.options.means === 'kill' && !(await this.start())) return;
    await this.connectAll(this.population.members);
    const done = () => this.population.complete && this.wills.missing().length === 0;
    await this.untilDone(done);
    await sleep(QUIET_MS);
    if (!done()) this.violate([...this.population.problems(), ...this.wills.missing()]);
    const probe = this.probe();
    await this.untilDone(() => probe.complete);
    await sleep(QUIET_MS);
    this.violate(probe.problems());
  }

  private async untilDone(done: () => boolean): Promise<void> {
    const { patienceMs = PATIENCE_MS } = this.options;
    let seen = -1;
    let movedAt = performance.now();
    while (!done() && performance.now() - movedAt < patienceMs && this.broker.runs) {
      if (this.progress !== seen) {
        seen = this.progress;
        movedAt = performance.now();
      }
      await sleep(20);
    }
  }

  private violate(texts: readonly string[]): void {
    for (const text of texts) this.violation(text);
  }

  private violation(text: string): void {
    this.broker.note(`VIOLATION ${text}`);
    if (this.violations.length < VIOLATIONS_MAX) this.violations.push(`life ${this.broker.starts}: ${text}`);
  }

  private everybody(): CrashClient[] {
    for (const client of this.others)
      if (client.openSockets === 0 && !this.mortals.some((mortal) => mortal.client === client))
        this.others.delete(client);
    return [...this.population.members.map(({ client }) => client), ...this.others];
  }

  private summary(): string {
    const sent = [...this.population.flows, ...this.population.retainedFlows].reduce((sum, flow) => sum + flow.sent, 0);
    const { start, storm, work, stop } = this.ends;
    return (
      `mode ${this.options.mode}, seed ${this.options.seed}: ${this.broker.starts} starts (${start} killed while starting, ` +
      `${storm} while clients connected, ${work} at work, ${stop} stopped), ${sent} messages sent, ` +
      `${this.delivered} deliveries, ${this.wills.arrived} wills`
    );
  }
}

async function withPatience<T>(promise: Promise<T>, ms: number): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), ms);
  });
  const result = await Promise.race([promise, late]);
  clearTimeout(timer);
  return result;
}
