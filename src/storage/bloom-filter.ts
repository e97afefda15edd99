/**
 * Which keys a table certainly does not hold: a Bloom filter of ten bits and seven probes a key (about one wrong "maybe" in
 * a hundred look-ups), built from 32-bit hashes of the keys.
 *
 * The filter is plain bytes, bit `n` being bit `n & 7` of byte `n >> 3`; their number says how many bits there are. The
 * hash and the probes are part of the table format: a change of either needs a new version of it.
 */
const BITS_PER_KEY = 10;
const PROBES = 7;
/** A bit's number has 32 bits; beyond 429 million keys the filter grows no further and says "maybe" more often. */
const FILTER_BYTES_MAX = 2 ** 29 - 1;

/** Of the code units of `key`: FNV-1a, then mixed so that all bits of the result depend on all of the key. */
export function keyHash(key: string): number {
  let hash = 0x811c9dc5 | 0;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return mix(hash);
}

function mix(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Takes hashes one by one (four bytes each in memory) and makes the filter when their number is known. */
export class BloomFilterBuilder {
  private hashes = new Uint32Array(1024);
  private count = 0;

  add(hash: number): void {
    if (this.count === this.hashes.length) {
      const larger = new Uint32Array(2 * this.count);
      larger.set(this.hashes);
      this.hashes = larger;
    }
    this.hashes[this.count++] = hash;
  }

  /** The bytes a `BloomFilter` reads; none when nothing was added. */
  build(): Buffer {
    const bytes = Buffer.alloc(Math.min(Math.ceil((this.count * BITS_PER_KEY) / 8), FILTER_BYTES_MAX));
    const bits = bytes.length * 8;
    for (let index = 0; index < this.count; index++) {
      let probe = this.hashes[index]!;
      const step = mix(probe) | 1;
      for (let left = PROBES; left > 0; left--) {
        const bit = probe % bits;
        bytes[bit >>> 3]! |= 1 << (bit & 7);
        probe = (probe + step) >>> 0;
      }
    }
    return bytes;
  }
}

export class BloomFilter {
  private readonly bits: number;

  /** `bytes` come from `BloomFilterBuilder.build` and are not changed afterwards. */
  constructor(private readonly bytes: Buffer) {
    this.bits = bytes.length * 8;
  }

  /** False: no key with this hash was added. True: perhaps one was. */
  mayHold(hash: number): boolean {
    if (this.bits === 0) return false;
    let probe = hash;
    const step = mix(hash) | 1;
    for (let left = PROBES; left > 0; left--) {
      const bit = probe % this.bits;
      if ((this.bytes[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
      probe = (probe + step) >>> 0;
    }
    return true;
  }
}
