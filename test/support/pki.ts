/** Certificate authorities for tests: certificates, chains and revocation lists made in memory, written to a folder of the test. */
import 'reflect-metadata';
import { randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto as never);
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

export interface Issued {
  readonly certificate: string;
  readonly key: string;
  readonly serialNumber: string;
  readonly der: Buffer;
}

export interface IssueOptions {
  readonly names?: readonly string[];
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  readonly authority?: boolean;
  readonly ocspUrl?: string;
  readonly algorithm?: {
    name: string;
    hash: string;
    modulusLength?: number;
    publicExponent?: Uint8Array;
    namedCurve?: string;
  };
  readonly subject?: string;
}

export class Authority {
  private constructor(
    readonly certificate: string,
    readonly key: string,
    private readonly x509: x509.X509Certificate,
    private readonly keys: webcrypto.CryptoKeyPair,
    /** Up to the root, itself first. */
    readonly chain: string,
  ) {}

  static async create(commonName: string, issuer?: Authority): Promise<Authority> {
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const made = await x509.X509CertificateGenerator.create({
      serialNumber: randomBytes(8).toString('hex').replace(/^./, '1'),
      subject: `CN=${commonName}`,
      issuer: issuer?.x509.subject ?? `CN=${commonName}`,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + 3650 * DAY_MS),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: issuer?.keys.privateKey ?? keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      ],
    });
    const certificate = `${made.toString('pem')}\n`;
    return new Authority(certificate, await pkcs8(keys.privateKey), made, keys, certificate + (issuer?.chain ?? ''));
  }

  async issue(commonName: string, options: IssueOptions = {}): Promise<Issued> {
    const { names = [], notBeforeMs = Date.now() - DAY_MS, notAfterMs = Date.now() + 365 * DAY_MS } = options;
    const chosen = options.algorithm ?? algorithm;
    const keys = (await webcrypto.subtle.generateKey(chosen as never, true, [
      'sign',
      'verify',
    ])) as webcrypto.CryptoKeyPair;
    const serialNumber = randomBytes(8).toString('hex').replace(/^./, '1');
    const extensions: x509.Extension[] = [];
    if (names.length > 0)
      extensions.push(
        new x509.SubjectAlternativeNameExtension(
          names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? ('ip' as const) : ('dns' as const), value })),
        ),
      );
    if (options.ocspUrl !== undefined)
      extensions.push(new x509.AuthorityInfoAccessExtension({ ocsp: options.ocspUrl }));
    const made = await x509.X509CertificateGenerator.create({
      serialNumber,
      subject: options.subject ?? `CN=${commonName}`,
      issuer: this.x509.subject,
      notBefore: new Date(notBeforeMs),
      notAfter: new Date(notAfterMs),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: this.keys.privateKey,
      extensions,
    });
    const certificate = `${made.toString('pem')}\n`;
    return {
      certificate,
      key: await pkcs8(keys.privateKey),
      serialNumber: new X509Certificate(certificate).serialNumber,
      der: Buffer.from(made.rawData),
    };
  }

  /** A revocation list of these serial numbers, PEM. */
  async revoke(serialNumbers: readonly string[], nextUpdateMs = Date.now() + DAY_MS): Promise<string> {
    const list = await x509.X509CrlGenerator.create({
      issuer: this.x509.subject,
      thisUpdate: new Date(Math.min(Date.now(), nextUpdateMs) - DAY_MS),
      nextUpdate: new Date(nextUpdateMs),
      signingAlgorithm: algorithm,
      signingKey: this.keys.privateKey,
      entries: serialNumbers.map((serialNumber) => ({ serialNumber, revocationDate: new Date() })),
    });
    const lines = Buffer.from(list.rawData)
      .toString('base64')
      .replace(/.{64}(?=.)/g, '$&\n');
    return `-----BEGIN X509 CRL-----\n${lines}\n-----END X509 CRL-----\n`;
  }
}

async function pkcs8(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return `-----BEGIN PRIVATE KEY-----\n${der.toString('base64').replace(/.{64}(?=.)/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
}

/** A folder that goes when the test is over. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'dunlin-tls-'));

  /** Writes a file and returns its path. */
  readonly write = (name: string, contents: string | Buffer): string => {
    const file = join(this.path, name);
    writeFileSync(file, contents);
    return file;
  };

  readonly at = (name: string): string => join(this.path, name);

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
