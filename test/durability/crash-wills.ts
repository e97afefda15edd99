/**
 * Clients with a will. Each connection has a will of its own (its number is the payload), so that for each it can be said
 * whether the will has to come, may come, or must not:
 *
 *   connected when the broker was killed, or dropped   has to come, at QoS 2 once
 *   CONNECT sent, CONNACK not seen; DISCONNECT sent;
 *   connected when the broker was stopped              may come
 *   will delay of an hour, session taken up again      must not come
 */
import type { QoS, Will } from '../../src/protocol/index.js';
import type { CrashClient } from './crash-client.js';

const DELAY_LONG_SECONDS = 3600;

interface Connection {
  readonly clientId: string;
  readonly number: number;
  readonly delaySeconds: number;
  readonly qos: QoS;
  /** CONNACK has come. */
  accepted: boolean;
  due: 'no' | 'maybe' | 'yes';
  arrived: number;
  /** Life of the broker in which it connected. */
  readonly life: number;
}

export class Wills {
  private readonly connections: Connection[] = [];
  private readonly current = new Map<CrashClient, Connection>();

  constructor(private readonly violation: (text: string) => void) {}

  /** Connects with a will of its own; `delaySeconds` of 0 needs no 5.0. */
  async connect(client: CrashClient, delaySeconds: number, qos: QoS, life: number): Promise<void> {
    const number = this.connections.length;
    const connection: Connection = {
      clientId: client.clientId,
      number,
      delaySeconds,
      qos,
      accepted: false,
      due: delaySeconds === DELAY_LONG_SECONDS ? 'no' : 'maybe',
      arrived: 0,
      life,
    };
    this.connections.push(connection);
    this.current.set(client, connection);
    const will: Will = {
      topicName: `will/${client.clientId}`,
      payload: Buffer.from(String(number)),
      qos,
      retain: false,
      ...(delaySeconds > 0 ? { properties: { willDelayInterval: delaySeconds } } : {}),
    };
    await client.connect({ will });
    if (client.online) connection.accepted = true;
  }

  /** Its connection is about to break, or has just been broken with the broker, without a DISCONNECT. */
  broken(client: CrashClient): void {
    const connection = this.current.get(client);
    this.current.delete(client);
    if (connection?.accepted && connection.due === 'maybe') connection.due = 'yes';
  }

  /** One side says goodbye: the will goes, unless the broker is killed before it reads or says that. */
  leaves(client: CrashClient): void {
    this.current.delete(client);
  }

  arrive(topicName: string, payload: string): void {
    const connection = this.connections[Number(payload)];
    if (connection === undefined || topicName !== `will/${connection.clientId}`)
      return this.violation(`will on ${topicName} with payload ${JSON.stringify(payload)} was never set`);
    connection.arrived++;
    if (connection.arrived > 1 && connection.qos === 2)
      this.violation(`doubled: ${describe(connection)} came ${connection.arrived} times`);
    if (connection.due === 'no') this.violation(`${describe(connection)} came although its session goes on`);
  }

  missing(): string[] {
    return this.connections
      .filter(({ due, arrived }) => due === 'yes' && arrived === 0)
      .map((connection) => `lost: ${describe(connection)} never came`);
  }

  get arrived(): number {
    return this.connections.reduce((sum, connection) => sum + connection.arrived, 0);
  }
}

function describe({ clientId, number, delaySeconds, life }: Connection): string {
  return `will ${number} of ${clientId}, connected in life ${life} of the broker, delay ${delaySeconds} s,`;
}

export { DELAY_LONG_SECONDS };
