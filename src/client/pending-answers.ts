/** SUBSCRIBE and UNSUBSCRIBE that the server has not answered yet. */
import type { Properties } from '../protocol/index.js';
import { ClientError } from './client-error.js';
import type { PacketIds } from './packet-ids.js';

export interface AnswerResult {
  /** one for each filter, in order; all 0 for an UNSUBACK of 3.x */
  reasonCodes: number[];
  properties?: Properties;
}

interface Pending {
  readonly count: number;
  resolve(result: AnswerResult): void;
  reject(error: Error): void;
}

export class PendingAnswers {
  private readonly pending = new Map<number, Pending>();

  /** @param address names the server in errors. */
  constructor(
    private readonly packetIds: PacketIds,
    private readonly address: string,
  ) {}

  /** Sends a request for `count` filters. Rejects with what `send` throws, or CLIENT_QUEUE_FULL without a packet identifier. */
  ask(count: number, send: (packetId: number) => void): Promise<AnswerResult> {
    const packetId = this.packetIds.take();
    if (packetId === undefined) {
      const text = `all packet identifiers for ${this.address} are in use`;
      return Promise.reject(new ClientError('CLIENT_QUEUE_FULL', text));
    }
    return new Promise((resolve, reject) => {
      try {
        send(packetId);
      } catch (error) {
        this.packetIds.release(packetId);
        reject(error as Error);
        return;
      }
      this.pending.set(packetId, { count, resolve, reject });
    });
  }

  onAnswer(packetId: number, reasonCodes: number[], properties: Properties | undefined): void {
    const request = this.pending.get(packetId);
    if (request === undefined) return;
    this.pending.delete(packetId);
    this.packetIds.release(packetId);
    const codes = reasonCodes.length === 0 ? Array<number>(request.count).fill(0) : reasonCodes;
    request.resolve(properties === undefined ? { reasonCodes: codes } : { reasonCodes: codes, properties });
  }

  fail(failure: ClientError): void {
    const requests = [...this.pending];
    this.pending.clear();
    for (const [packetId, request] of requests) {
      this.packetIds.release(packetId);
      request.reject(failure);
    }
  }
}
