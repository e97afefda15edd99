/**
 * Cuts a stream of bytes into packets, however the bytes were split on the way. For clients and tests; the broker's
 * connections do the same in place on the transport's chunks.
 */
import { decodeBody } from './decoder.js';
import type { Packet, ProtocolVersion } from './packet.js';
import { PacketType } from './packet.js';
import { malformed, ProtocolFailure } from './protocol-failure.js';
import { ReasonCode } from './reason-code.js';
import type { Role } from './reason-code-sets.js';
import {
  readVariableByteInteger,
  variableByteIntegerIncomplete,
  variableByteIntegerLength,
  variableByteIntegerMalformed,
} from './variable-byte-integer.js';

const nothing = Buffer.alloc(0);

export class PacketReader {
  /** As what to decode. A CONNECT that passes sets it. */
  version: ProtocolVersion = 4;

  private pending: Buffer = nothing;
  private pendingLength = 0;
  /** Bytes that the packet at the start of `pending` takes, as far as known; never 0 while something is pending. */
  private needed = 0;

  /**
   * @param role            who reads: a 'client' gets what servers send
   * @param packetBytesMax  whole packet, fixed header included; a longer one fails with Packet Too Large
   */
  constructor(
    private readonly role: Role,
    private readonly packetBytesMax: number,
  ) {}

  /**
   * Hands every packet that is now complete to `onPacket`, in order. Keeps what is left of `chunk` as a copy.
   *
   * Shape   the payload of a PUBLISH is a view of `chunk` or of a buffer of its own; it stays good if `chunk` does.
   * Errors  ProtocolFailure; the reader cannot be used after one.
   */
  read(chunk: Buffer, onPacket: (packet: Packet) => void): void {
    let at = 0;
    while (this.pendingLength > 0 && at < chunk.length) at = this.complete(chunk, at, onPacket);
    while (at < chunk.length) {
      const total = this.packetLength(chunk, at, chunk.length);
      if (total === 0 || at + total > chunk.length) {
        this.keep(chunk, at, total);
        return;
      }
      onPacket(this.decode(chunk, at, at + total));
      at += total;
    }
  }

  /** Adds to the packet that began in an earlier chunk; returns the position after what it took. */
  private complete(chunk: Buffer, at: number, onPacket: (packet: Packet) => void): number {
    const take = Math.min(this.needed - this.pendingLength, chunk.length - at);
    this.reserve(this.pendingLength + take);
    chunk.copy(this.pending, this.pendingLength, at, at + take);
    this.pendingLength += take;
    if (this.pendingLength < this.needed) return at + take;
    const total = this.packetLength(this.pending, 0, this.pendingLength);
    if (total === 0 || total > this.pendingLength) {
      this.needed = total === 0 ? this.pendingLength + 1 : total;
      return at + take;
    }
    const packet = this.pending;
    this.pending = nothing;
    this.pendingLength = 0;
    onPacket(this.decode(packet, 0, total));
    return at + take;
  }

  private keep(chunk: Buffer, at: number, total: number): void {
    const length = chunk.length - at;
    this.needed = total === 0 ? length + 1 : total;
    this.reserve(length);
    chunk.copy(this.pending, 0, at);
    this.pendingLength = length;
  }

  /** Grows by doubling up to what the packet needs: a peer that announces much and sends little holds little. */
  private reserve(length: number): void {
    if (length <= this.pending.length) return;
    const grown = Buffer.allocUnsafe(
      Math.min(Math.max(length, this.pending.length * 2, 64), Math.max(this.needed, length)),
    );
    this.pending.copy(grown, 0, 0, this.pendingLength);
    this.pending = grown;
  }

  /** Bytes of the packet that begins at `start`, or 0 while its fixed header is not complete. */
  private packetLength(bytes: Buffer, start: number, end: number): number {
    const remainingLength = readVariableByteInteger(bytes, start + 1, end);
    if (remainingLength === variableByteIntegerIncomplete) return 0;
    if (remainingLength === variableByteIntegerMalformed) {
      throw malformed('MQTT-1.5.5-1', 'Remaining Length is no minimal Variable Byte Integer'); // [MQTT-1.5.5-1]
    }
    const total = 1 + variableByteIntegerLength(remainingLength) + remainingLength;
    if (total > this.packetBytesMax) {
      throw new ProtocolFailure(
        ReasonCode.PacketTooLarge,
        this.role === 'client' ? 'MQTT-3.1.2-24' : 'MQTT-3.2.2-15',
        `a packet of ${total} bytes exceeds the maximum of ${this.packetBytesMax}`,
      );
    }
    return total;
  }

  private decode(bytes: Buffer, start: number, end: number): Packet {
    const header = bytes[start]!;
    let body = start + 1;
    while (bytes[body]! > 0x7f) body += 1;
    const packet = decodeBody(header, bytes, body + 1, end, this.version, this.role);
    if (packet.type === PacketType.Connect) this.version = packet.protocolVersion;
    return packet;
  }
}
