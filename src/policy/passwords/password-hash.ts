/**
 * What is kept of a password: the formats, read into one shape, and one asynchronous check for all of them.
 *
 *   $scrypt$ln=14,r=8,p=1$<salt>$<hash>      our own (PHC, base64 without padding)
 *   $6$<salt>$<hash>                         Mosquitto: SHA-512 of password and salt, base64
 *   $7$<iterations>$<salt>$<hash>            Mosquitto: PBKDF2 with HMAC-SHA-512, base64
 *   $2a$… $2b$… $2y$…                        bcrypt
 *   $argon2id$… $argon2i$… $argon2d$…        argon2 (PHC)
 *
 * Databases also keep bare digests with the salt in a column of its own: `parseDigest`.
 * All work is off the main thread, but for the one digest of `$6$` and the bare ones, which take a microsecond.
 */
import { createHash, pbkdf2, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import type { PasswordFormat } from '../options.js';
import { compareBcrypt } from './bcrypt-thread.js';

const deriveScrypt = promisify<Buffer | string, Buffer, number, object, Buffer>(scrypt);
const derivePbkdf2 = promisify(pbkdf2);

/** 2^14 with r = 8 takes 16 MiB and some 40 ms of one core. */
const SCRYPT_COST = 14;
const SCRYPT_COST_MAX = 20;
/** Of PBKDF2 with SHA-512, some 20 ms of one core. Mosquitto reads any count; its own default is 101. */
export const PBKDF2_ITERATIONS = 20_000;
const ITERATIONS_MAX = 10_000_000;
const BCRYPT_COST_MIN = 4;
const BCRYPT_COST_MAX = 16;
/** Anything fits a hash of no bytes, and much fits a short one: the end of such a line is missing. */
const HASH_BYTES_MIN = 16;
const PASSWORD_BYTES_MAX = 65_535;

export type PasswordHash =
  | ({ readonly kind: 'scrypt'; readonly cost: number; readonly r: number; readonly p: number } & Salted)
  | ({ readonly kind: 'pbkdf2'; readonly iterations: number; readonly digest: string } & Salted)
  | ({ readonly kind: 'digest'; readonly digest: string | undefined; readonly saltFirst: boolean } & Salted)
  | { readonly kind: 'bcrypt'; readonly text: string }
  | { readonly kind: 'argon2'; readonly text: string };

interface Salted {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** How a database column holds passwords. `auto`: in one of the formats above, each telling what it is. */
export const passwordAlgorithms = ['auto', 'plain', 'md5', 'sha1', 'sha256', 'sha512', 'pbkdf2', 'bcrypt'] as const;
export type PasswordAlgorithm = (typeof passwordAlgorithms)[number];

/** Undefined when `text` is in none of the formats, or asks for more work than is sane. */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  if (/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/.test(text)) {
    const cost = Number(text.slice(4, 6));
    return cost >= BCRYPT_COST_MIN && cost <= BCRYPT_COST_MAX ? { kind: 'bcrypt', text } : undefined;
  }
  const argon2 = /^\$argon2(?:id|i|d)\$(?:v=\d+\$)?m=(\d+),t=(\d+),p=(\d+)\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$/.exec(text);
  if (argon2 !== null)
    return Number(argon2[1]) <= 4_194_304 && Number(argon2[2]) <= 100 && Number(argon2[3]) <= 64
      ? { kind: 'argon2', text }
      : undefined;
  const ours = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(text);
  if (ours !== null) {
    const [, cost, r, p, salt, hash] = ours;
    const fits = Number(cost) >= 1 && Number(cost) <= SCRYPT_COST_MAX && Number(r) >= 1 && Number(p) >= 1;
    if (!fits || 128 * Number(r) * 2 ** Number(cost) > MEMORY_MAX) return undefined;
    const kept = salted(salt!, hash!);
    if (kept.hash.length < HASH_BYTES_MIN) return undefined;
    return { kind: 'scrypt', cost: Number(cost), r: Number(r), p: Number(p), ...kept };
  }
  const [empty, kind, ...parts] = text.split('$');
  if (empty !== '' || parts.some((part) => !isBase64(part))) return undefined;
  if (kind === '6' && parts.length === 2) {
    const { salt, hash } = salted(parts[0]!, parts[1]!);
    return hash.length === 64 ? { kind: 'digest', digest: 'sha512', saltFirst: false, salt, hash } : undefined;
  }
  if (kind === '7' && parts.length === 3 && /^[1-9]\d{0,7}$/.test(parts[0]!)) {
    const { salt, hash } = salted(parts[1]!, parts[2]!);
    const iterations = Number(parts[0]);
    if (hash.length !== 64 || iterations > ITERATIONS_MAX) return undefined;
    return { kind: 'pbkdf2', iterations, digest: 'sha512', salt, hash };
  }
  return undefined;
}

/** Reads what a table holds: `text` is the hash (hexadecimal or base64), `salt` its salt column. */
export function parseDigest(text: string, salt: string, format: PasswordFormat): PasswordHash | undefined {
  const { passwordAlgorithm: algorithm, saltPosition, pbkdf2Iterations: iterations, pbkdf2Digest } = format;
  if (algorithm === 'auto' || algorithm === 'bcrypt') return parsePasswordHash(text);
  const saltBytes = Buffer.from(salt);
  const saltFirst = saltPosition === 'prefix';
  if (algorithm === 'plain')
    return { kind: 'digest', digest: undefined, saltFirst, salt: Buffer.alloc(0), hash: Buffer.from(text) };
  const bytes = { md5: 16, sha1: 20, sha256: 32, sha512: 64, pbkdf2: 0 }[algorithm];
  const hash = decodeHash(text, bytes);
  if (hash === undefined) return undefined;
  if (algorithm === 'pbkdf2') return { kind: 'pbkdf2', iterations, digest: pbkdf2Digest, salt: saltBytes, hash };
  return { kind: 'digest', digest: algorithm, saltFirst, salt: saltBytes, hash };
}

function decodeHash(text: string, bytes: number): Buffer | undefined {
  const fits = (length: number) => (bytes === 0 ? length >= HASH_BYTES_MIN : length === bytes);
  if (/^(?:[0-9a-fA-F]{2})+$/.test(text) && fits(text.length / 2)) return Buffer.from(text, 'hex');
  const decoded = Buffer.from(text, 'base64');
  return isBase64(text) && fits(decoded.length) ? decoded : undefined;
}

/** Whether `password` is the one that was hashed. */
export async function verifyPassword(password: Uint8Array, hash: PasswordHash): Promise<boolean> {
  if (password.length > PASSWORD_BYTES_MAX) return false;
  const given = Buffer.from(password.buffer, password.byteOffset, password.byteLength);
  switch (hash.kind) {
    case 'scrypt': {
      const options = { N: 2 ** hash.cost, r: hash.r, p: hash.p, maxmem: 2 * MEMORY_MAX };
      return same(await deriveScrypt(given, hash.salt, hash.hash.length, options), hash.hash);
    }
    case 'pbkdf2':
      return same(await derivePbkdf2(given, hash.salt, hash.iterations, hash.hash.length, hash.digest), hash.hash);
    case 'digest':
      return verifyDigest(given, hash);
    case 'bcrypt':
      return compareBcrypt(given, hash.text);
    case 'argon2': {
      const { verify } = await import('@node-rs/argon2');
      return verify(hash.text, given);
    }
  }
}

function verifyDigest(given: Buffer, { digest, saltFirst, salt, hash }: PasswordHash & { kind: 'digest' }): boolean {
  // Plain passwords are compared by their digests, which have one length.
  const of = (data: Buffer, name: string) => createHash(name).update(data).digest();
  if (digest === undefined) return timingSafeEqual(of(given, 'sha256'), of(hash, 'sha256'));
  return same(of(Buffer.concat(saltFirst ? [salt, given] : [given, salt]), digest), hash);
}

export const hashSchemes = ['scrypt', 'sha512-pbkdf2', 'sha512', 'argon2id'] as const;
export type HashScheme = (typeof hashSchemes)[number];

/** What to keep of a password. */
export async function hashPassword(
  password: string,
  scheme: HashScheme = 'scrypt',
  iterations: number = PBKDF2_ITERATIONS,
): Promise<string> {
  const given = Buffer.from(password);
  if (scheme === 'argon2id') {
    const { hash } = await import('@node-rs/argon2');
    return hash(given);
  }
  if (scheme === 'scrypt') {
    const salt = randomBytes(16);
    const hash = await deriveScrypt(given, salt, 32, { N: 2 ** SCRYPT_COST, r: 8, p: 1, maxmem: 2 * MEMORY_MAX });
    return `$scrypt$ln=${SCRYPT_COST},r=8,p=1$${unpadded(salt)}$${unpadded(hash)}`;
  }
  const salt = randomBytes(12);
  if (scheme === 'sha512') {
    const hash = createHash('sha512').update(given).update(salt).digest('base64');
    return `$6$${salt.toString('base64')}$${hash}`;
  }
  const hash = await derivePbkdf2(given, salt, iterations, 64, 'sha512');
  return `$7$${iterations}$${salt.toString('base64')}$${hash.toString('base64')}`;
}

const MEMORY_MAX = 256 * 1024 * 1024;

/** A hash that nothing was hashed to, which costs what ours cost. */
export const decoyHash: PasswordHash = {
  kind: 'scrypt',
  cost: SCRYPT_COST,
  r: 8,
  p: 1,
  salt: randomBytes(16),
  hash: randomBytes(32),
};

const same = (a: Buffer, b: Buffer) => a.length === b.length && timingSafeEqual(a, b);
const isBase64 = (text: string) => /^[A-Za-z0-9+/]+={0,2}$/.test(text);
const unpadded = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
const salted = (salt: string, hash: string): Salted => ({
  salt: Buffer.from(salt, 'base64'),
  hash: Buffer.from(hash, 'base64'),
});

/** What is wrong with a stored hash, in words; undefined when nothing is. */
export function hashProblem(text: string): string | undefined {
  return parsePasswordHash(text) === undefined ? 'is in no known format' : undefined;
}
