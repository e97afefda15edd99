/** SCRAM, the client's side (RFC 5802, RFC 7677): makes a client's messages and checks that the server knows the password too. */
import { timingSafeEqual } from 'node:crypto';
import { saslPrep } from './sasl-prep.js';
import { decodeText, hash, hmac, makeNonce, type ScramMethod, saltPassword, xor } from './scram.js';

/** More would let a server keep the client busy at will. */
const ITERATIONS_MAX = 1_000_000;
const ITERATIONS_MIN = 4096;

export class ScramClient {
  private readonly bare: string;
  private expected: Buffer | undefined;

  constructor(
    private readonly method: ScramMethod,
    username: string,
    private readonly password: string,
    private readonly clientNonce: string = makeNonce(),
  ) {
    const name = (saslPrep(username) ?? username).replaceAll('=', '=3D').replaceAll(',', '=2C');
    this.bare = `n=${name},r=${clientNonce}`;
  }

  /** Authentication data of CONNECT. */
  first(): Buffer {
    return Buffer.from(`n,,${this.bare}`);
  }

  /**
   * Answers the server's challenge.
   *
   * Errors  Error when the challenge is malformed, answers someone else, or asks for too little or too much work.
   */
  async final(serverFirst: Buffer): Promise<Buffer> {
    const challenge = decodeText(serverFirst) ?? '';
    const split = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+=*),i=([1-9]\d{0,9})(?:,[A-Za-z]=[^,]*)*$/.exec(
      challenge,
    );
    if (split === null) throw new Error('SCRAM: the challenge of the server is malformed');
    const [, nonce = '', salt = '', count] = split;
    const iterations = Number(count);
    if (!nonce.startsWith(this.clientNonce) || nonce === this.clientNonce)
      throw new Error('SCRAM: the server answers with a foreign nonce');
    if (iterations < ITERATIONS_MIN || iterations > ITERATIONS_MAX)
      throw new Error(
        `SCRAM: the server asks for ${iterations} iterations; allowed are ${ITERATIONS_MIN} to ${ITERATIONS_MAX}`,
      );
    const salted = await saltPassword(this.method, this.password, Buffer.from(salt, 'base64'), iterations);
    const withoutProof = `c=biws,r=${nonce}`;
    const signed = `${this.bare},${challenge},${withoutProof}`;
    const clientKey = hmac(this.method, salted, 'Client Key');
    const proof = xor(clientKey, hmac(this.method, hash(this.method, clientKey), signed));
    this.expected = hmac(this.method, hmac(this.method, salted, 'Server Key'), signed);
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`);
  }

  /** Whether the server's last message proves that it knows the password. */
  verify(serverFinal: Buffer): boolean {
    const signature = /^v=([A-Za-z0-9+/]+=*)(?:,[A-Za-z]=[^,]*)*$/.exec(decodeText(serverFinal) ?? '')?.[1];
    if (signature === undefined || this.expected === undefined) return false;
    const given = Buffer.from(signature, 'base64');
    return given.length === this.expected.length && timingSafeEqual(given, this.expected);
  }
}
