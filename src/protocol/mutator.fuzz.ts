/** Damages packets: in place in one reused buffer, one to three changes at a time. */
import type { Random } from '../base/random.fuzz.js';
import { readVariableByteInteger, variableByteIntegerLength, writeVariableByteInteger } from './index.js';

const edges = [0, 1, 2, 3, 0x0b, 0x23, 0x24, 0x26, 0x2b, 0x2f, 0x7f, 0x80, 0x81, 0xc0, 0xed, 0xf4, 0xff];
const longEdges = [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x7fff, 0xfffe, 0xffff];
const ROOM = 200_000;

export class Mutator {
  /** The damaged packet is `bytes[0..length)`; good until the next call. */
  readonly bytes = Buffer.alloc(ROOM + 64);
  length = 0;

  constructor(private readonly random: Random) {}

  /** Damages a copy of `packet`; `other` is where spliced bytes come from. Now and then it leaves it whole. */
  mutate(packet: Buffer, other: Buffer): void {
    packet.copy(this.bytes);
    this.length = packet.length;
    if (this.random.oneIn(20)) return;
    for (let count = 1 + (this.random.oneIn(3) ? this.random.below(3) : 0); count > 0; count--) this.change(other);
  }

  /** Makes the Remaining Length say what is there, so that the damage is in the packet and not in the framing. */
  frame(): void {
    const { bytes } = this;
    const old = readVariableByteInteger(bytes, 1, this.length);
    const bodyStart = old < 0 ? Math.min(2, this.length) : 1 + variableByteIntegerLength(old);
    const body = this.length - bodyStart;
    const width = variableByteIntegerLength(body);
    bytes.copy(bytes, 1 + width, bodyStart, this.length);
    writeVariableByteInteger(bytes, 1, body);
    this.length = 1 + width + body;
  }

  private change(other: Buffer): void {
    const { random, bytes } = this;
    const at = random.below(Math.max(1, this.length));
    switch (random.below(13)) {
      case 0:
      case 1:
        bytes[at]! ^= 1 << random.below(8);
        break;
      case 2:
        bytes[at] = random.bits() & 0xff;
        break;
      case 3:
      case 4:
        bytes[at] = random.pick(edges);
        break;
      case 5: // the header's type and flags
        bytes[0] = random.bits() & 0xff;
        break;
      case 6: // cut off
        this.length = at;
        break;
      case 7: // insert
        this.insert(at, random.bytes(1 + random.below(8)));
        break;
      case 8: // remove
        this.remove(at, 1 + random.below(8));
        break;
      case 9: // repeat
        this.insert(at, Buffer.from(bytes.subarray(at, Math.min(this.length, at + 1 + random.below(12)))));
        break;
      case 10: // a two byte length
        if (at + 2 <= this.length)
          bytes.writeUInt16BE(random.oneIn(2) ? random.pick(longEdges) : (this.length - at - 2) & 0xffff, at);
        break;
      case 11: // a variable byte integer
        this.insert(at, Buffer.from(random.pick([[0x80], [0x80, 0x00], [0xff, 0xff, 0xff, 0x7f], [0xff, 0xff, 0xff]])));
        break;
      default: {
        // the head of one, the tail of another
        const from = random.below(other.length);
        this.length = at;
        this.insert(at, other.subarray(from));
      }
    }
    if (this.length === 0) this.length = 1;
  }

  private insert(at: number, added: Buffer): void {
    if (this.length + added.length > ROOM) return;
    this.bytes.copy(this.bytes, at + added.length, at, this.length);
    added.copy(this.bytes, at);
    this.length += added.length;
  }

  private remove(at: number, count: number): void {
    const end = Math.min(this.length, at + count);
    this.bytes.copy(this.bytes, at, end, this.length);
    this.length -= end - at;
  }
}
