/**
 * The keys that tokens are checked with: secrets and public keys of the configuration, and sets of keys (JWKS) that are fetched, kept,
 * and fetched again after a while or when a token names a key that is not among them.
 *
 * While a set cannot be fetched the last one counts for as long again as it was fresh; then the source is unavailable.
 */
import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { CompactJWSHeaderParameters, JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import { Fault, type Logger } from '../../base/index.js';
import type { JwtOptions } from '../options.js';
import { Guard, type SourceStatus, SourceUnavailable } from '../sources/guard.js';
import { HttpClient } from '../sources/http-client.js';

type Jose = typeof import('jose');

/** A token with an unknown key makes the set be fetched, but not more often than this. */
const UNKNOWN_KEY_WAIT_MS = 10_000;

const algorithmsOf: Readonly<Record<string, readonly string[]>> = {
  secret: ['HS256', 'HS384', 'HS512'],
  rsa: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  'rsa-pss': ['PS256', 'PS384', 'PS512'],
  ec: ['ES256', 'ES384', 'ES512'],
  ed25519: ['EdDSA'],
  ed448: ['EdDSA'],
};
const asymmetric = ['rsa', 'ec', 'ed25519'].flatMap((kind) => algorithmsOf[kind]!);

export class JwtKeys {
  /** What a token may be signed with. */
  algorithms: readonly string[];
  private fixed: { readonly key: KeyObject; readonly algorithms: readonly string[] }[] = [];
  private readonly guard: Guard;
  private readonly http: HttpClient;
  private jose: Jose | undefined;
  private find: JWTVerifyGetKey | undefined;
  private fetchedAtMs = Number.NEGATIVE_INFINITY;
  private underWay: Promise<void> | undefined;

  constructor(
    private readonly options: JwtOptions,
    log: Logger,
    private readonly nowMs: () => number = Date.now,
  ) {
    const { name, secret, secretEncoding, timeoutMs, caFile } = options;
    if (secret !== undefined) {
      const key = createSecretKey(secret, secretEncoding === 'base64' ? 'base64' : 'utf8');
      this.fixed.push({ key, algorithms: algorithmsOf.secret! });
    }
    this.algorithms = this.fitting();
    this.guard = new Guard({ name, type: 'jwt', timeoutMs, runningMax: 2, log, nowMs });
    this.http = new HttpClient({ connectionsMax: 2, caFile });
  }

  /** Errors  Fault ACCESS_FILE that names the file. */
  open(): void {
    this.guard.open();
    this.readFiles();
  }

  /** Reads the key files. Errors  Fault ACCESS_FILE that names the file; the keys that were read before stay. */
  readFiles(): void {
    const read = this.options.publicKeyFiles.map(readPublicKey);
    this.fixed = [...this.fixed.filter(({ key }) => key.type === 'secret'), ...read];
    this.algorithms = this.fitting();
  }

  /**
   * The keys that may have signed a token with this header. Errors  SourceUnavailable when they cannot be had.
   */
  async candidates(header: CompactJWSHeaderParameters): Promise<(KeyObject | CryptoKeyOf)[]> {
    const own = this.fixed.filter(({ algorithms }) => algorithms.includes(header.alg)).map(({ key }) => key);
    if (!this.remote || header.alg.startsWith('HS')) return own;
    const age = this.nowMs() - this.fetchedAtMs;
    const { keysRefreshSeconds } = this.options;
    if (age > keysRefreshSeconds * 1000) await this.refresh(age > 2 * keysRefreshSeconds * 1000);
    let found = await this.inSet(header);
    if (found.length === 0 && own.length === 0 && this.nowMs() - this.fetchedAtMs > UNKNOWN_KEY_WAIT_MS) {
      await this.refresh(false);
      found = await this.inSet(header);
    }
    return [...own, ...found];
  }

  status(): SourceStatus {
    const status = this.guard.status();
    return this.remote ? status : { ...status, state: 'ready' };
  }

  close(): void {
    this.guard.close();
    this.http.close();
  }

  /** Those of the settings, else those that the keys can do. */
  private fitting(): readonly string[] {
    if (this.options.algorithms.length > 0) return this.options.algorithms;
    const fitting = this.fixed.flatMap(({ algorithms }) => algorithms);
    return [...new Set(this.remote ? [...fitting, ...asymmetric] : fitting)];
  }

  private get remote(): boolean {
    return this.options.jwksUrl !== undefined || this.options.oidcIssuer !== undefined;
  }

  private async inSet(header: CompactJWSHeaderParameters): Promise<CryptoKeyOf[]> {
    const { errors } = this.jose!;
    try {
      return [(await this.find!(header, { payload: '', signature: '' })) as CryptoKeyOf];
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return [];
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return [];
      const all: CryptoKeyOf[] = [];
      for await (const key of error) all.push(key as CryptoKeyOf);
      return all;
    }
  }

  private async refresh(needed: boolean): Promise<void> {
    this.underWay ??= this.guard
      .run((signal) => this.fetch(signal))
      .finally(() => {
        this.underWay = undefined;
      });
    try {
      await this.underWay;
    } catch (error) {
      if (needed || this.find === undefined || !(error instanceof SourceUnavailable)) throw error;
    }
  }

  private async fetch(signal: AbortSignal): Promise<void> {
    this.jose ??= await import('jose');
    const { oidcIssuer } = this.options;
    let { jwksUrl } = this.options;
    if (oidcIssuer !== undefined) {
      const document = await this.json(`${oidcIssuer.replace(/\/$/, '')}/.well-known/openid-configuration`, signal);
      const { issuer, jwks_uri: uri } = document as { issuer?: unknown; jwks_uri?: unknown };
      if (issuer !== oidcIssuer) throw new Error('the discovery document names another issuer');
      if (typeof uri !== 'string') throw new Error('the discovery document has no jwks_uri');
      jwksUrl = uri;
    }
    const set = (await this.json(jwksUrl!, signal)) as JSONWebKeySet;
    if (!Array.isArray(set?.keys)) throw new Error('what was fetched is no set of keys');
    // A secret has no place in a public set, and a key that cannot be used must not spoil the others.
    const keys = set.keys.filter(({ kty }) => kty === 'RSA' || kty === 'EC' || kty === 'OKP');
    this.find = this.jose.createLocalJWKSet({ keys });
    this.fetchedAtMs = this.nowMs();
  }

  private async json(url: string, signal: AbortSignal): Promise<unknown> {
    const answer = await this.http.send(
      { url, method: 'GET', headers: { accept: 'application/json' }, body: undefined },
      signal,
    );
    const place = url.split('?')[0];
    if (answer.status !== 200) throw new Error(`${place} answered with status ${answer.status}`);
    try {
      return JSON.parse(answer.text);
    } catch {
      throw new Error(`${place} answered with something that is no JSON`); // the parser would quote it
    }
  }
}

type CryptoKeyOf = Awaited<ReturnType<JWTVerifyGetKey>>;

function readPublicKey(file: string): { key: KeyObject; algorithms: readonly string[] } {
  let key: KeyObject;
  try {
    key = createPublicKey(readFileSync(file));
  } catch (error) {
    throw new Fault('ACCESS_FILE', `${file}: no public key can be read: ${(error as Error).message}`, { cause: error });
  }
  const algorithms = algorithmsOf[key.asymmetricKeyType ?? ''];
  if (algorithms === undefined)
    throw new Fault('ACCESS_FILE', `${file}: keys of type ${key.asymmetricKeyType} sign no tokens`);
  return { key, algorithms };
}
