/** Damages text and bytes of any format: takes out, doubles, swaps and changes pieces, and puts in what parsers trip over. */
import type { Random } from './random.fuzz.js';

export function damagedText(random: Random, text: string, pieces: readonly string[]): string {
  let out = text;
  for (let count = 1 + random.below(4); count > 0; count--) {
    const at = random.below(out.length + 1);
    const end = Math.min(out.length, at + random.below(random.oneIn(4) ? 60 : 4));
    switch (random.below(5)) {
      case 0:
        out = out.slice(0, at) + out.slice(end);
        break;
      case 1:
        out = out.slice(0, end) + out.slice(at);
        break;
      case 2:
        out = out.slice(0, at) + random.pick(pieces) + out.slice(end);
        break;
      case 3:
        out = out.slice(0, at) + String.fromCharCode(random.below(random.oneIn(3) ? 65_536 : 128)) + out.slice(at + 1);
        break;
      default:
        out = out.slice(0, at) + random.pick(pieces) + out.slice(at);
    }
  }
  return out;
}

export function damagedBytes(random: Random, bytes: Buffer): Buffer {
  let out = Buffer.from(bytes);
  for (let count = 1 + random.below(3); count > 0; count--) {
    const at = random.below(Math.max(1, out.length));
    switch (random.below(5)) {
      case 0:
        out = out.subarray(0, at);
        break;
      case 1:
        out = Buffer.concat([out.subarray(0, at), random.bytes(1 + random.below(6)), out.subarray(at)]);
        break;
      case 2:
        out = Buffer.concat([out.subarray(0, at), out.subarray(Math.min(out.length, at + 1 + random.below(4)))]);
        break;
      default:
        if (out.length > 0)
          out[at] = random.oneIn(2) ? random.pick([0, 0x0a, 0x0d, 0x20, 0x7f, 0xff]) : random.bits() & 0xff;
    }
  }
  return out;
}
