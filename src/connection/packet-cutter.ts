/**
 * Cuts control packets out of the chunks of one connection, in place where it can.
 *
 *   chunk   | whole packet | whole packet | begin of a pack
 *   held    `- handled in the chunk -----'  `- copied, completed by the next chunks, handled, let go
 *
 * `held` exists only while a packet is incomplete or cutting is suspended: an idle connection has none. It grows with the
 * bytes that really come, never with the length that a header announces.
 */
import { malformed, variableByteIntegerLength, writeVariableByteInteger } from '../protocol/index.js';

/** First allocation for what comes of a large packet, bytes. */
const HELD_BYTES_FIRST = 16_384;

/** Who handles the packets. What it throws ends the cutting of the chunk. */
export interface PacketHandler {
  /** No packet is wanted any more. */
  readonly done: boolean;
  /**
   * Handles the packet at `bytes[start..bodyEnd)`, whose body begins at `bodyStart`, and perhaps whole ones that follow it
   * before `end`. Returns the position after what it handled.
   */
  handle(bytes: Buffer, start: number, bodyStart: number, bodyEnd: number, end: number): number;
  /** A packet is larger than allowed: throws, or returns when it wants to see more of it first. */
  handleTooLarge(bytes: Buffer, start: number, bodyStart: number, end: number, packetBytes: number): void;
  /** Whether the packet with the body `bytes[bodyStart..bodyEnd)` may have a longer Remaining Length than it needs. */
  allowsPadding(bytes: Buffer, bodyStart: number, bodyEnd: number): boolean;
}

export class PacketCutter {
  /** Nothing is handed to the handler; what comes is held. */
  suspended = false;
  private cutting = false;
  private held: Buffer | undefined;
  private heldBytes = 0;
  /** Length of the first packet in `held`; 0 while it is not known. */
  private needed = 0;

  constructor(
    private readonly handler: PacketHandler,
    private readonly packetBytesMax: number,
  ) {}

  /** No part of a packet is held. */
  get isEmpty(): boolean {
    return this.held === undefined;
  }

  /** Takes the next bytes of the stream. */
  push(bytes: Buffer, start: number, end: number): void {
    if (this.suspended || this.cutting) {
      this.hold(bytes, start, end);
      return;
    }
    this.cutting = true;
    try {
      let at = start;
      while (this.held !== undefined && at < end && !this.suspended) at = this.complete(bytes, at, end);
      if (this.held === undefined) at = this.cut(bytes, at, end);
      if (at < end && !this.handler.done) this.hold(bytes, at, end);
    } finally {
      this.cutting = false;
    }
  }

  /** Goes on with what is held. */
  resume(): void {
    this.suspended = false;
    if (this.held === undefined || this.cutting) return;
    this.cutting = true;
    try {
      this.measure();
      this.cutHeld();
    } finally {
      this.cutting = false;
    }
  }

  /** Forgets what is held. */
  discard(): void {
    this.held = undefined;
    this.heldBytes = 0;
    this.needed = 0;
  }

  /** Hands over every whole packet of `bytes[start..end)`; returns the position after the last of them. */
  private cut(bytes: Buffer, start: number, end: number): number {
    const { handler, packetBytesMax } = this;
    let at = start;
    while (at + 2 <= end && !handler.done && !this.suspended) {
      let length = bytes[at + 1]!;
      let bodyStart = at + 2;
      if (length >= 0x80) {
        length = remainingLength(bytes, at + 1, end);
        if (length < 0) break;
        while (bytes[bodyStart - 1]! >= 0x80) bodyStart++;
      }
      const bodyEnd = bodyStart + length;
      if (bodyEnd - at > packetBytesMax) {
        handler.handleTooLarge(bytes, at, bodyStart, end, bodyEnd - at);
        break;
      }
      if (bodyEnd > end) break;
      if (bodyStart > at + 2 && bytes[bodyStart - 1] === 0) {
        if (!this.handlePadded(bytes, at, bodyStart, bodyEnd)) break;
        at = bodyEnd;
      } else at = handler.handle(bytes, at, bodyStart, bodyEnd, end);
    }
    return at;
  }

  /** Hands over a copy without the needless bytes of its Remaining Length. Returns whether it was handled. */
  private handlePadded(bytes: Buffer, start: number, bodyStart: number, bodyEnd: number): boolean {
    const { handler } = this;
    if (!handler.allowsPadding(bytes, bodyStart, bodyEnd))
      throw malformed('MQTT-1.5.5-1', 'Remaining Length is padded');
    const length = bodyEnd - bodyStart;
    const packet = Buffer.allocUnsafe(1 + variableByteIntegerLength(length) + length);
    packet[0] = bytes[start]!;
    const body = writeVariableByteInteger(packet, 1, length);
    bytes.copy(packet, body, bodyStart, bodyEnd);
    return handler.handle(packet, 0, body, packet.length, packet.length) === packet.length;
  }

  /** Adds to the held packet just what it lacks, and hands it over when it is whole. Returns the position after. */
  private complete(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (this.needed === 0 && at < end) {
      this.hold(bytes, at, at + 1);
      at++;
      this.measure();
    }
    if (this.needed === 0) return at;
    const lacking = Math.min(this.needed - this.heldBytes, end - at);
    if (lacking > 0) {
      this.hold(bytes, at, at + lacking);
      at += lacking;
    }
    this.cutHeld();
    return at;
  }

  /** Learns the length of the first held packet once its fixed header is there. */
  private measure(): void {
    const held = this.held!;
    if (this.heldBytes < 2) return;
    const length = remainingLength(held, 1, this.heldBytes);
    if (length < 0) return;
    let bodyStart = 2;
    while (held[bodyStart - 1]! >= 0x80) bodyStart++;
    const packetBytes = bodyStart + length;
    if (packetBytes > this.packetBytesMax) this.handler.handleTooLarge(held, 0, bodyStart, this.heldBytes, packetBytes);
    else this.needed = packetBytes;
  }

  private cutHeld(): void {
    const { held, heldBytes } = this;
    if (held === undefined || (this.needed > 0 && heldBytes < this.needed)) return;
    this.discard();
    const at = this.cut(held, 0, heldBytes);
    if (at === heldBytes || this.handler.done) return;
    this.hold(held, at, heldBytes);
    this.measure();
  }

  private hold(bytes: Buffer, start: number, end: number): void {
    const total = this.heldBytes + end - start;
    if (this.held === undefined) this.held = Buffer.allocUnsafeSlow(Math.max(64, total));
    else if (total > this.held.length) {
      const enough = Math.max(total, Math.min(this.needed, Math.max(this.held.length * 2, HELD_BYTES_FIRST)));
      const grown = Buffer.allocUnsafeSlow(enough);
      this.held.copy(grown, 0, 0, this.heldBytes);
      this.held = grown;
    }
    bytes.copy(this.held, this.heldBytes, start, end);
    this.heldBytes = total;
  }
}

/** The Remaining Length at `at`, with or without padding; -1 while it is incomplete. */
function remainingLength(bytes: Buffer, at: number, end: number): number {
  let length = 0;
  for (let index = 0; index < 4; index++) {
    if (at + index >= end) return -1;
    const byte = bytes[at + index]!;
    length |= (byte & 0x7f) << (7 * index);
    if (byte < 0x80) return length;
  }
  throw malformed('MQTT-1.5.5-1', 'Remaining Length has more than four bytes');
}
