/**
 * Consecutive QoS 0 PUBLISH packets of one topic, as they lie in the chunk they arrived in: the unit in which the router
 * hands on what needs nothing but copying.
 *
 * Every packet of a run has QoS 0, RETAIN 0, the same topic name and no properties, so for a receiver of the same wire form
 * (3.x, or 5.0 with its empty Property Length) the outgoing bytes are the incoming ones. The other form is made once.
 */
import { Message } from './message.js';
import { PublishView } from './publish-view.js';
import {
  readVariableByteInteger,
  variableByteIntegerLength,
  writeVariableByteInteger,
} from './variable-byte-integer.js';

const noClock = (): number => 0;

export class PublishRun {
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  count = 0;
  /** Whether the packets carry the (empty) Property Length of 5.0. */
  version5 = false;
  /** Length of the topic name in bytes. */
  topicBytes = 0;
  /** Payloads of all its packets together. */
  payloadBytes = 0;
  /** How many subscribers it goes to; with more than one its bytes are better shared than copied. */
  receivers = 0;
  /** Largest packet of the run in the form it arrived in, bytes. */
  packetBytesMax = 0;
  publisherId: string | undefined;
  topicName = '';

  private own: Buffer | undefined;
  private other: Buffer | undefined;

  /** Begins a new run; what was made of the former one is forgotten. */
  begin(bytes: Buffer, start: number, version5: boolean, topicBytes: number, publisherId: string | undefined): void {
    this.bytes = bytes;
    this.start = start;
    this.version5 = version5;
    this.topicBytes = topicBytes;
    this.publisherId = publisherId;
    this.count = 0;
    this.packetBytesMax = 0;
    this.payloadBytes = 0;
    this.own = undefined;
    this.other = undefined;
  }

  /** Forgets the bytes made for it, so that a reused run holds no memory. */
  release(): void {
    this.own = undefined;
    this.other = undefined;
  }

  /** A run object for parts of this one; see `beginPart`. */
  part(): PublishRun {
    return new PublishRun();
  }

  /** Becomes the one packet `[packetStart, packetEnd)` of `whole`. */
  beginPart(whole: PublishRun, packetStart: number, packetEnd: number): void {
    this.begin(whole.bytes, packetStart, whole.version5, whole.topicBytes, whole.publisherId);
    this.end = packetEnd;
    this.count = 1;
    this.packetBytesMax = packetEnd - packetStart;
    this.payloadBytes = Math.floor(whole.payloadBytes / whole.count);
    this.topicName = whole.topicName;
    this.receivers = 1;
  }

  /** Bytes the run takes in a receiver's wire form. */
  length(version5: boolean): number {
    if (version5 === this.version5) return this.end - this.start;
    return this.converted().length;
  }

  /** Largest packet in a receiver's form; at most one too many where lengths change by a byte. */
  packetBytesMaxFor(version5: boolean): number {
    return version5 && !this.version5 ? this.packetBytesMax + 2 : this.packetBytesMax;
  }

  /** Copies the run to `target` in a receiver's form. */
  copyTo(version5: boolean, target: Buffer, offset: number): void {
    if (version5 === this.version5) this.bytes.copy(target, offset, this.start, this.end);
    else this.converted().copy(target, offset);
  }

  /** The run as bytes that nobody will change, the same for all receivers of a form. */
  shared(version5: boolean): Buffer {
    if (version5 !== this.version5) return this.converted();
    if (this.own === undefined) {
      this.own = Buffer.allocUnsafeSlow(this.end - this.start);
      this.bytes.copy(this.own, 0, this.start, this.end);
    }
    return this.own;
  }

  /** Calls `visit` with the bounds of each packet: its first byte, its payload and its end. */
  forEach(visit: (packetStart: number, payloadStart: number, packetEnd: number) => void): void {
    let at = this.start;
    while (at < this.end) {
      const length = readVariableByteInteger(this.bytes, at + 1, this.end);
      const body = at + 1 + variableByteIntegerLength(length);
      const packetEnd = body + length;
      visit(at, body + 2 + this.topicBytes + (this.version5 ? 1 : 0), packetEnd);
      at = packetEnd;
    }
  }

  /** The run's packets as messages, for a receiver that cannot take bytes as they are. */
  messages(): Message[] {
    const view = new PublishView();
    const out: Message[] = [];
    this.forEach((_packetStart, payloadStart, packetEnd) => {
      const topicEnd = payloadStart - (this.version5 ? 1 : 0);
      view.readPlain(topicEnd - this.topicBytes, topicEnd, payloadStart, packetEnd);
      out.push(Message.fromView(view, this.bytes, this.topicName, this.publisherId, noClock));
    });
    return out;
  }

  private converted(): Buffer {
    this.other ??= this.convert();
    return this.other;
  }

  private convert(): Buffer {
    // A packet grows or shrinks by its Property Length byte, and perhaps by a byte of Remaining Length.
    const target = Buffer.allocUnsafeSlow(this.end - this.start + this.count * 2);
    const { bytes, topicBytes } = this;
    let to = 0;
    this.forEach((packetStart, payloadStart, packetEnd) => {
      const payloadBytes = packetEnd - payloadStart;
      const toVersion5 = !this.version5;
      target[to++] = bytes[packetStart]!;
      to = writeVariableByteInteger(target, to, 2 + topicBytes + (toVersion5 ? 1 : 0) + payloadBytes);
      const topicField = payloadStart - (this.version5 ? 1 : 0) - 2 - topicBytes;
      to += bytes.copy(target, to, topicField, topicField + 2 + topicBytes);
      if (toVersion5) target[to++] = 0;
      to += bytes.copy(target, to, payloadStart, packetEnd);
    });
    return target.subarray(0, to);
  }
}
