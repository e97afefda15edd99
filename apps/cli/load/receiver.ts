// Reads what arrives on all connections of a thread. One chunk buffer serves them all; a packet cut off at its end is kept
// by its connection and laid in front of the next chunk:
//
//   [ head: room for a tail | chunk: what the kernel wrote just now ]
//
// PUBLISH is recognised from the fixed header and its stamp read in place. Messages with the same time or of the same
// publisher as the one before (a batch) are counted together, so most of them cost a few additions.

import { type Board, COUNTER, PHASE } from './board.js';
import { nowNs } from './clock.js';
import type { Flows } from './flows.js';
import type { Histogram } from './histogram.js';
import type { Link } from './link.js';
import type { LoadPlan } from './plan.js';
import { PACKET, type ProtocolLevel, STAMP, stampMagic } from './wire.js';

const CHUNK_BYTES = 256 * 1024;
const TWO_32 = 4294967296;

export interface ReceiverOptions {
  plan: LoadPlan;
  run: number;
  board: Board;
  worker: number;
  latency: Histogram;
  flows: Flows | undefined;
  /** A gap in a flow is a loss (and moves the publisher on), not just somebody else's message. */
  gapsAreLosses: boolean;
  /** A publisher's subscribers have come forward. */
  onSeen(publisher: number): void;
  /** PUBACK or PUBCOMP for a publisher's message. */
  onAcknowledged(link: Link): void;
}

export class Receiver {
  /** What every socket of this thread reads into. */
  readonly chunk: Buffer;
  private readonly headBytes: number;
  private readonly bytes: Buffer;
  private readonly view: DataView;
  private readonly row: Float64Array;
  private readonly phase: Int32Array;
  private readonly magic: number;
  private readonly level: ProtocolLevel;
  private readonly publishers: number;
  private acks = Buffer.allocUnsafeSlow(64 * 1024);
  private acksLength = 0;

  private now = 0;
  private measured = false;
  private runLow = -1;
  private runHigh = -1;
  private runCount = 0;
  private seenPublisher = -1;
  private seenCount = 0;

  constructor(private readonly options: ReceiverOptions) {
    const { plan, board, worker, run } = options;
    this.headBytes = plan.payloadBytes + 128 * 1024;
    this.bytes = Buffer.allocUnsafeSlow(this.headBytes + CHUNK_BYTES);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    this.chunk = this.bytes.subarray(this.headBytes);
    this.row = board.row(worker);
    this.phase = board.phase;
    this.magic = stampMagic(run);
    this.level = plan.level;
    this.publishers = plan.publishers;
  }

  receive(link: Link, count: number): void {
    const { bytes, row } = this;
    const end = this.headBytes + count;
    let at = this.headBytes;
    if (link.tail !== undefined) {
      at -= link.tail.length;
      link.tail.copy(bytes, at);
      link.tail = undefined;
    }
    this.now = nowNs();
    this.measured = this.phase[0] === PHASE.measured;
    row[COUNTER.reads]!++;
    row[COUNTER.bytesReceived]! += count;
    while (end - at >= 2) {
      let length = bytes[at + 1]!;
      let body = at + 2;
      if (length > 127) {
        length &= 127;
        let shift = 7;
        let more = true;
        while (more && body < end && shift <= 21) {
          const byte = bytes[body++]!;
          length |= (byte & 127) << shift;
          shift += 7;
          more = byte > 127;
        }
        if (more && shift > 21) {
          link.fail('it sent a packet whose length is malformed');
          return;
        }
        if (more) break;
      }
      const next = body + length;
      if (next > end) {
        if (next - at <= this.headBytes) break;
        link.fail(`it sent a packet of ${length} bytes, too big for this run`);
        return;
      }
      if (bytes[at]! >> 4 === PACKET.publish) this.onPublish(link, bytes[at]!, body, next);
      else this.onControl(link, bytes[at]! >> 4, body, next);
      at = next;
    }
    this.endTimeRun();
    this.endSeenRun();
    this.flushAcks(link);
    if (at < end && link.state !== 'closed') link.tail = Buffer.from(bytes.subarray(at, end));
  }

  private onPublish(link: Link, first: number, body: number, next: number): void {
    const { bytes, view } = this;
    let at = body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!);
    const qos = (first >> 1) & 3;
    if (qos > 0) {
      this.acknowledge(link, qos === 1 ? 0x40 : 0x50, bytes[at]!, bytes[at + 1]!);
      at += 2;
    }
    if (this.level === 5) {
      let length = 0;
      let shift = 0;
      let byte = 128;
      while (byte > 127 && at < next) {
        byte = bytes[at++]!;
        length |= (byte & 127) << shift;
        shift += 7;
      }
      at += length;
    }
    if (at + STAMP.size > next || view.getUint32(at, true) !== this.magic) {
      this.onForeign(at, next);
      return;
    }
    const low = view.getUint32(at + STAMP.timeLow, true);
    const high = view.getUint32(at + STAMP.timeHigh, true);
    const publisher = view.getUint32(at + STAMP.publisher, true);
    if (low !== this.runLow || high !== this.runHigh) {
      this.endTimeRun();
      this.runLow = low;
      this.runHigh = high;
    }
    this.runCount++;
    if (publisher !== this.seenPublisher) {
      this.endSeenRun();
      if (publisher >= this.publishers) return;
      this.seenPublisher = publisher;
    }
    const { flows, gapsAreLosses } = this.options;
    if (flows === undefined || link.flowsAt < 0) {
      this.seenCount++;
      return;
    }
    const perPublisher = this.options.plan.layout !== 'pair';
    const flow = perPublisher ? link.flowsAt + publisher : link.flowsAt;
    const step = flows.see(flow, view.getUint32(at + STAMP.sequence, true));
    this.seenCount += gapsAreLosses || step === 0 ? step : 1;
  }

  /** Not of this run. One that publishes nothing itself takes it for its own, with its latency if another run stamped it. */
  private onForeign(at: number, next: number): void {
    if (this.publishers > 0) {
      this.row[COUNTER.foreign]!++;
      return;
    }
    this.row[COUNTER.received]!++;
    const { view, measured, magic } = this;
    if (!measured || at + STAMP.size > next || view.getUint16(at + 2, true) !== magic >>> 16) return;
    const sent = view.getUint32(at + STAMP.timeHigh, true) * TWO_32 + view.getUint32(at + STAMP.timeLow, true);
    this.options.latency.record(this.now - sent);
  }

  private endTimeRun(): void {
    if (this.runCount === 0) return;
    this.row[COUNTER.received]! += this.runCount;
    if (this.measured) this.options.latency.record(this.now - (this.runHigh * TWO_32 + this.runLow), this.runCount);
    this.runCount = 0;
    this.runLow = -1;
  }

  private endSeenRun(): void {
    if (this.seenPublisher < 0) return;
    if (this.seenCount > 0) {
      Atomics.add(this.options.board.seen, this.seenPublisher, this.seenCount);
      this.options.onSeen(this.seenPublisher);
    }
    this.seenPublisher = -1;
    this.seenCount = 0;
  }

  private onControl(link: Link, type: number, body: number, next: number): void {
    const { bytes, row } = this;
    const length = next - body;
    const reasonCode = length > 2 ? bytes[body + 2]! : 0;
    switch (type) {
      case PACKET.puback:
      case PACKET.pubcomp:
        row[COUNTER.acknowledged]!++;
        if (reasonCode >= 0x80) row[COUNTER.refused]!++;
        this.options.onAcknowledged(link);
        return;
      case PACKET.pubrec:
        if (reasonCode >= 0x80) {
          row[COUNTER.refused]!++;
          this.options.onAcknowledged(link);
        } else this.acknowledge(link, 0x62, bytes[body]!, bytes[body + 1]!);
        return;
      case PACKET.pubrel:
        this.acknowledge(link, 0x70, bytes[body]!, bytes[body + 1]!);
        return;
      case PACKET.connack:
        link.onConnack(length < 2 ? 0xff : bytes[body + 1]!);
        return;
      case PACKET.suback: {
        const properties = this.level === 5 ? 1 + bytes[body + 2]! : 0;
        let refused = 0;
        for (let at = body + 2 + properties; at < next; at++) if (bytes[at]! >= 0x80) refused = bytes[at]!;
        link.onSuback(refused);
        return;
      }
      case PACKET.disconnect:
        link.fail(`it sent DISCONNECT with reason code 0x${(length > 0 ? bytes[body]! : 0).toString(16)}`);
        return;
      default:
        return;
    }
  }

  private acknowledge(link: Link, first: number, high: number, low: number): void {
    if (this.acksLength + 4 > this.acks.length) this.flushAcks(link);
    const { acks, acksLength } = this;
    acks[acksLength] = first;
    acks[acksLength + 1] = 2;
    acks[acksLength + 2] = high;
    acks[acksLength + 3] = low;
    this.acksLength = acksLength + 4;
  }

  private flushAcks(link: Link): void {
    if (this.acksLength === 0) return;
    this.row[COUNTER.writes]!++;
    link.write(this.acks.subarray(0, this.acksLength));
    this.acksLength = 0;
    // The kernel has not taken them all: they must stay as they are until it has.
    if (!link.idle) this.acks = Buffer.allocUnsafeSlow(this.acks.length);
  }
}
