/**
 * SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), the server's side, as an authentication exchange of MQTT 5.0.
 *
 *   client-first   n,,n=user,r=<client nonce>
 *   server-first   r=<client nonce><server nonce>,s=<salt>,i=<iterations>
 *   client-final   c=biws,r=<both nonces>,p=<proof>
 *   server-final   v=<signature>
 *
 * Neither side learns the password from the other, and what the server keeps does not let its thief log in.
 * A user who does not exist is led through the whole exchange with a made-up salt, and fails where a wrong password fails.
 * Channel binding (`p=`) is not offered.
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { ReasonCode } from '../protocol/index.js';
import type { AuthenticationExchange, ExchangeStep } from './policy.js';
import { saslPrep } from './sasl-prep.js';

const derive = promisify(pbkdf2);

export const scramMethods = ['SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;
export type ScramMethod = (typeof scramMethods)[number];

export const isScramMethod = (name: string): name is ScramMethod => (scramMethods as readonly string[]).includes(name);

/** What a server keeps of a password. */
export interface ScramCredentials {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

export type FindCredentials = (
  method: ScramMethod,
  username: string,
) => ScramCredentials | undefined | Promise<ScramCredentials | undefined>;

/**
 * RFC 7677 §4 asks for 4096 at least. The server pays once per password, the client at every connect: this many are some
 * ten milliseconds for a computer and still about a second for a microcontroller.
 */
export const DEFAULT_ITERATIONS = 15_000;
const MESSAGE_BYTES_MAX = 4096;
const SALT_BYTES = 16;
const NONCE_BYTES = 18;

/** Salts of users who do not exist: the same at every try, and unpredictable. */
const decoySecret = randomBytes(32);

export const digestOf = (method: ScramMethod) => (method === 'SCRAM-SHA-256' ? 'sha256' : 'sha512');
export const hash = (method: ScramMethod, data: Buffer) => createHash(digestOf(method)).update(data).digest();
export const hmac = (method: ScramMethod, key: Buffer, data: string) =>
  createHmac(digestOf(method), key).update(data).digest();
export const makeNonce = () => randomBytes(NONCE_BYTES).toString('base64');

/** Passwords that SASLprep refuses are taken as they are, by both sides alike. */
export async function saltPassword(
  method: ScramMethod,
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<Buffer> {
  const digest = digestOf(method);
  return derive(saslPrep(password) ?? password, salt, iterations, digest === 'sha256' ? 32 : 64, digest);
}

export async function deriveScramCredentials(
  method: ScramMethod,
  password: string,
  { salt = randomBytes(SALT_BYTES), iterations = DEFAULT_ITERATIONS }: { salt?: Buffer; iterations?: number } = {},
): Promise<ScramCredentials> {
  const salted = await saltPassword(method, password, salt, iterations);
  const storedKey = hash(method, hmac(method, salted, 'Client Key'));
  return { salt, iterations, storedKey, serverKey: hmac(method, salted, 'Server Key') };
}

function decoyCredentials(method: ScramMethod, username: string): ScramCredentials {
  const make = (what: string) =>
    createHmac(digestOf(method), decoySecret).update(`${what}\0${method}\0${username}`).digest();
  return {
    salt: make('salt').subarray(0, SALT_BYTES),
    iterations: DEFAULT_ITERATIONS,
    storedKey: make('stored'),
    serverKey: make('server'),
  };
}

const notAuthorized = { outcome: 'refused', reasonCode: ReasonCode.NotAuthorized } as const satisfies ExchangeStep;

interface Challenge {
  readonly username: string;
  readonly known: boolean;
  readonly credentials: ScramCredentials;
  /** `c=` of the client's last message has to repeat this. */
  readonly gs2Header: string;
  readonly nonce: string;
  /** Client's and server's first messages as both sign them. */
  readonly transcript: string;
}

/** One exchange. Any step out of order or malformed refuses, and so does every step after that. */
export class ScramExchange implements AuthenticationExchange {
  private challenge: Challenge | undefined;
  private state: 'first' | 'final' | 'over' = 'first';
  private asked = false;

  constructor(
    private readonly method: ScramMethod,
    private readonly find: FindCredentials,
    private readonly serverNonce: string = makeNonce(),
  ) {}

  async step(data: Buffer | undefined): Promise<ExchangeStep> {
    const { state } = this;
    this.state = 'over';
    if (state === 'first' && (data === undefined || data.length === 0) && !this.asked) {
      // RFC 4422 §5.1: a client that did not speak first is asked to by an empty challenge
      this.asked = true;
      this.state = 'first';
      return { outcome: 'continue', data: Buffer.alloc(0) };
    }
    const text = data === undefined ? undefined : decodeText(data);
    if (text === undefined || state === 'over') return notAuthorized;
    return state === 'first' ? this.first(text) : this.final(text);
  }

  private async first(text: string): Promise<ExchangeStep> {
    const message = parseClientFirst(text);
    if (message === undefined) return notAuthorized;
    const { username, gs2Header, bare, clientNonce } = message;
    const found = await this.find(this.method, username);
    const credentials = found ?? decoyCredentials(this.method, username);
    const nonce = clientNonce + this.serverNonce;
    const reply = `r=${nonce},s=${credentials.salt.toString('base64')},i=${credentials.iterations}`;
    this.challenge = {
      username,
      known: found !== undefined,
      credentials,
      gs2Header,
      nonce,
      transcript: `${bare},${reply}`,
    };
    this.state = 'final';
    return { outcome: 'continue', data: Buffer.from(reply) };
  }

  private final(text: string): ExchangeStep {
    const { username, known, credentials, gs2Header, nonce, transcript } = this.challenge!;
    const refused: ExchangeStep = { ...notAuthorized, username };
    const split = /^(c=([^,]*),r=([^,]*)(?:,[A-Za-z]=[^,]*)*),p=([^,]*)$/.exec(text);
    if (split === null) return refused;
    const [, withoutProof, binding, givenNonce, givenProof] = split;
    if (binding !== Buffer.from(gs2Header).toString('base64') || givenNonce !== nonce) return refused;
    const proof = Buffer.from(givenProof!, 'base64');
    if (proof.toString('base64') !== givenProof || proof.length !== credentials.storedKey.length) return refused;
    const signed = `${transcript},${withoutProof}`;
    const clientKey = xor(proof, hmac(this.method, credentials.storedKey, signed));
    const matches = timingSafeEqual(hash(this.method, clientKey), credentials.storedKey);
    if (!matches || !known) return refused;
    const signature = hmac(this.method, credentials.serverKey, signed).toString('base64');
    return { outcome: 'success', data: Buffer.from(`v=${signature}`), username };
  }
}

export function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ b[index]!));
}

export function decodeText(data: Buffer): string | undefined {
  if (data.length > MESSAGE_BYTES_MAX) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return undefined;
  }
}

/** `y` says that the client could bind to a channel and believes we cannot, which is so. A mandatory extension (`m=`) refuses. */
function parseClientFirst(
  text: string,
): { username: string; gs2Header: string; bare: string; clientNonce: string } | undefined {
  const split = /^([ny],(?:a=([^,]+))?,)(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]*)*)$/.exec(text);
  if (split === null) return undefined;
  const [, gs2Header = '', authorizationName, bare = '', name = '', clientNonce = ''] = split;
  const username = decodeName(name);
  if (username === undefined) return undefined;
  // Acting for someone else is not offered.
  if (authorizationName !== undefined && decodeName(authorizationName) !== username) return undefined;
  return { username, gs2Header, bare, clientNonce };
}

function decodeName(name: string): string | undefined {
  if (/=(?!2C|3D)/.test(name)) return undefined;
  return saslPrep(name.replaceAll('=2C', ',').replaceAll('=3D', '='));
}
