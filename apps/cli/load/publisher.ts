// One publisher: a run of equal PUBLISH packets encoded once, of which only time, sequence number, packet identifier and
// (some layouts) the topic change. A batch is patched in place and handed to the kernel in one write; the bytes
// may be patched again as soon as the kernel has them, and until then the publisher waits.

import { topicOf } from './layout.js';
import type { Link } from './link.js';
import type { LoadPlan } from './plan.js';
import type { TopicTable } from './topic-table.js';
import { encodePublish, STAMP, stampMagic } from './wire.js';

/** More in one write brings nothing: the kernel takes a few hundred kilobytes at a time. */
const BATCH_BYTES_MAX = 128 * 1024;
const BATCH_MAX = 1000;
const TWO_32 = 4294967296;

export class Publisher {
  link: Link | undefined;
  /** Sequence number of the last message sent; the first is 1. */
  sequence = 0;
  /** Sent and not acknowledged yet (QoS 1 and 2). */
  unacknowledged = 0;
  /** Sequence number of the last message it may send. */
  limit = Number.MAX_SAFE_INTEGER;
  /** Waits in the list of those that may send. */
  queued = false;
  /** The kernel has not taken the last batch yet. */
  blocked = false;
  /** For the stall watch: what it saw at its last look, and for how many looks nothing has moved. */
  watchedSeen = 0;
  watchedUnacknowledged = 0;
  idleLooks = 0;

  readonly batchMax: number;
  private packetId = 0;
  private place: number;
  private readonly stride: number;
  private readonly packetIdAt: number;
  private readonly payloadAt: number;
  private readonly stamped: boolean;
  private readonly bytes: Buffer;
  private readonly view: DataView;
  private readonly topicAt: number;

  constructor(
    plan: LoadPlan,
    readonly index: number,
    run: number,
    private readonly topics: TopicTable | undefined,
  ) {
    const payload = Buffer.alloc(plan.payloadBytes, 'measured load ');
    this.stamped = payload.length >= STAMP.size;
    if (this.stamped) {
      payload.writeUInt32LE(stampMagic(run), STAMP.magic);
      payload.writeUInt32LE(index, STAMP.publisher);
    }
    const template = encodePublish(plan.level, topicOf(plan, index), payload, plan.qos, plan.retain);
    this.stride = template.bytes.length;
    this.packetIdAt = template.packetIdAt;
    this.payloadAt = template.payloadAt;
    const window = plan.rate > 0 ? 32 : plan.qos > 0 ? Math.min(plan.inflight, plan.lag) : plan.lag;
    this.batchMax = Math.max(1, Math.min(window, BATCH_MAX, Math.floor(BATCH_BYTES_MAX / this.stride)));
    this.bytes = Buffer.alloc(this.stride * this.batchMax);
    for (let at = 0; at < this.bytes.length; at += this.stride) template.bytes.copy(this.bytes, at);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    this.topicAt = template.topicAt;
    this.place = topics === undefined ? 0 : topics.startOf(index);
  }

  /** Writes `count` messages (at most `batchMax`); returns false when nothing was written. */
  send(count: number, timeNs: number): boolean {
    const link = this.link;
    if (link === undefined || link.state !== 'ready' || this.blocked) return false;
    const high = Math.floor(timeNs / TWO_32);
    const low = timeNs - high * TWO_32;
    const { view, stride } = this;
    let sequence = this.sequence;
    for (let i = 0, at = 0; i < count; i++, at += stride) {
      sequence++;
      if (this.stamped) {
        const stamp = at + this.payloadAt;
        view.setUint32(stamp + STAMP.timeLow, low, true);
        view.setUint32(stamp + STAMP.timeHigh, high, true);
        view.setUint32(stamp + STAMP.sequence, sequence, true);
      }
      if (this.packetIdAt > 0) {
        // Never 0 [MQTT-2.2.1-3]; one that is still in use cannot come round within a window below 65,536.
        this.packetId = this.packetId === 65535 ? 1 : this.packetId + 1;
        view.setUint16(at + this.packetIdAt, this.packetId);
      }
      if (this.topics !== undefined) this.place = this.topics.write(this.bytes, at + this.topicAt, this.place);
    }
    this.sequence = sequence;
    const bytes = count === this.batchMax ? this.bytes : this.bytes.subarray(0, count * stride);
    link.write(bytes);
    if (!link.idle) {
      this.blocked = true;
      link.socket.once('drain', this.unblock);
    }
    return true;
  }

  /** Called with this publisher when it may write again. */
  onUnblocked: (publisher: Publisher) => void = () => {};

  private readonly unblock = (): void => {
    this.blocked = false;
    this.onUnblocked(this);
  };
}
