/**
 * The terms of TLS on one listener: read from its settings, read again when files change, the old ones kept when the new ones
 * are no good.
 *
 *   files ──read──▶ Loaded ──▶ terms ──▶ the listener's secure context
 *     ▲                                      │ onChange
 *     └──────── reload: all or nothing ──────┘
 *
 * Connections that are open keep what they agreed on; `revokedNow` tells which of them a new list has struck out.
 */
import { constants, type X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions, type SecureVersion } from 'node:tls';
import { Fault, type Logger } from '../base/index.js';
import type { CertificateVerdict, ShownCertificate, TlsProvider, TlsTerms } from '../transport/index.js';
import { chainRefusal } from './chain-refusal.js';
import { CIPHER_SUITES, cipherList } from './ciphers.js';
import { FileWatch } from './file-watch.js';
import { tlsFault } from './files.js';
import { type KeyMaterial, type KeyMaterialSettings, readKeyMaterial } from './key-material.js';
import { OcspChecker, OcspStapler } from './ocsp.js';
import { readPreSharedKeys } from './psk.js';
import { Revocations } from './revocation.js';
import { readTrust, type Trust } from './trust.js';

export interface TlsSettings extends KeyMaterialSettings {
  readonly versionMin: 'TLSv1.2' | 'TLSv1.3';
  readonly versionMax: 'TLSv1.2' | 'TLSv1.3';
  /** empty for the usual ones */
  readonly ciphers: string;
  readonly cipherSuites: string;
  readonly servers: readonly (KeyMaterialSettings & { readonly names: readonly string[] })[];
  readonly sessionTickets: boolean;
  readonly clientCertificate: 'off' | 'request' | 'require';
  readonly clientCa: readonly string[];
  readonly trustSystemStore: boolean;
  readonly crl: readonly string[];
  readonly crlExpired: 'refuse' | 'accept';
  readonly ocsp: 'off' | 'soft' | 'hard';
  readonly ocspTimeoutSeconds: number;
  readonly ocspStapling: boolean;
  readonly psk: {
    readonly identities: readonly { readonly identity: string; readonly key: string }[];
    readonly file?: string;
    readonly hint: string;
  };
  readonly alpn: readonly string[];
  readonly reloadOnChange: boolean;
}

export interface ListenerTlsOptions {
  /** Name of the listener. */
  readonly name: string;
  readonly settings: TlsSettings;
  /** Path of the settings, for messages. */
  readonly where: string;
  readonly log: Logger;
  /** Lets a client in though its chain leads to no trusted authority. */
  readonly acceptUntrusted?: (certificate: Buffer) => boolean | Promise<boolean>;
  /** Refuses a client though its chain is trusted; returns the reason. */
  readonly refuseTrusted?: (certificate: Buffer) => string | undefined | Promise<string | undefined>;
}

/** Everything the files said. */
interface Loaded {
  readonly own: KeyMaterial | undefined;
  readonly byName: ReadonlyMap<string, SecureContext>;
  readonly trust: Trust;
  readonly revocations: Revocations;
  readonly keys: ReadonlyMap<string, Buffer>;
  readonly context: SecureContextOptions;
  readonly warnings: readonly string[];
  readonly files: readonly string[];
}

export class ListenerTls implements TlsProvider {
  readonly pskHint: string | undefined;
  readonly alpn: readonly string[];
  private loaded: Loaded;
  private readonly listeners = new Set<() => void>();
  private readonly ocsp: OcspChecker | undefined;
  private readonly stapler: OcspStapler | undefined;
  private watch: FileWatch | undefined;
  terms: TlsTerms;

  /** Reads everything. Errors: `Fault` TLS_MATERIAL_INVALID, one sentence that names the setting and the file. */
  constructor(private readonly options: ListenerTlsOptions) {
    const { settings } = options;
    this.pskHint = settings.psk.hint === '' ? undefined : settings.psk.hint;
    this.alpn = settings.alpn;
    const timeoutMs = settings.ocspTimeoutSeconds * 1000;
    this.ocsp = settings.ocsp === 'off' ? undefined : new OcspChecker(timeoutMs);
    this.stapler = settings.ocspStapling ? new OcspStapler(timeoutMs) : undefined;
    this.loaded = load(options);
    this.terms = this.makeTerms();
  }

  /** What deserves a word though it works, such as a certificate that has expired. */
  get warnings(): readonly string[] {
    return this.loaded.warnings;
  }

  get certificate(): X509Certificate | undefined {
    return this.loaded.own?.certificate;
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Reads all files again. A fault changes nothing and is thrown. */
  reload(): void {
    const mark = this.watch?.mark();
    this.loaded = load(this.options);
    this.ocsp?.forget();
    this.terms = this.makeTerms();
    for (const listener of this.listeners) listener();
    if (mark !== undefined) this.watch?.read(mark, this.loaded.files);
  }

  /** Reloads by itself when a file changes; `reloaded` is called afterwards. Faults are logged and change nothing. */
  startWatching(reloaded: () => void): void {
    this.watch = new FileWatch(this.loaded.files, () => {
      const { name, log } = this.options;
      try {
        this.reload();
      } catch (error) {
        // Whatever a file does to us, clients are served with what was read before.
        const reason = error instanceof Fault ? error.message : String((error as Error).stack);
        log.error('listener.tls-rejected', `Files changed, but what was read before stays in use: ${reason}`, {
          listener: name,
        });
        return;
      }
      log.information('listener.tls-reloaded', 'Files changed: certificates, keys and lists were read again.', {
        listener: name,
      });
      for (const warning of this.warnings) log.warning('listener.tls', warning, { listener: name });
      reloaded();
    });
  }

  stop(): void {
    this.watch?.stop();
    this.watch = undefined;
  }

  /** Whether the lists strike out a certificate that was let in before. */
  revokedNow(certificate: Buffer): boolean {
    return this.loaded.revocations.statusOf(certificate, Date.now()) === 'revoked';
  }

  private makeTerms(): TlsTerms {
    const { settings } = this.options;
    const { context, keys, byName, trust } = this.loaded;
    const stapler = this.stapler;
    const withPsk = settings.psk.identities.length > 0 || settings.psk.file !== undefined;
    return {
      context,
      ...(settings.servers.length === 0 ? {} : { contextFor: (name) => contextFor(byName, name) }),
      ...(withPsk ? { keyFor: (identity) => keys.get(identity) } : {}),
      ...(settings.clientCertificate === 'off' ? {} : { judge: (shown) => this.judge(shown, trust) }),
      ...(stapler === undefined ? {} : { staple: (certificate, issuer) => stapler.response(certificate, issuer) }),
    };
  }

  private judge(shown: ShownCertificate | undefined, trust: Trust): CertificateVerdict | Promise<CertificateVerdict> {
    const { settings, acceptUntrusted, refuseTrusted } = this.options;
    if (shown === undefined)
      return {
        trusted: false,
        refusal: settings.clientCertificate === 'require' ? 'the client showed no certificate' : undefined,
      };
    const revoked = this.revocationRefusal(shown, trust);
    if (revoked !== undefined) return { trusted: false, refusal: revoked };
    if (shown.chainError !== undefined) {
      const refusal = chainRefusal(shown.chainError);
      if (acceptUntrusted === undefined) return { trusted: false, refusal };
      return later(acceptUntrusted(shown.certificate.raw), (accepted) => ({
        trusted: false,
        refusal: accepted ? undefined : refusal,
      }));
    }
    const trusted = (): CertificateVerdict | Promise<CertificateVerdict> => {
      if (refuseTrusted === undefined) return { trusted: true, refusal: undefined };
      return later(refuseTrusted(shown.certificate.raw), (refusal) => ({ trusted: refusal === undefined, refusal }));
    };
    if (this.ocsp === undefined) return trusted();
    return this.askResponder(this.ocsp, shown.certificate, trust).then((refusal) =>
      refusal === undefined ? trusted() : { trusted: false, refusal },
    );
  }

  /**
   * Of the certificate, all that the handshake brought with it (its issuers, in whatever order and company the client sent them), and those of its
   * issuers that are authorities here.
   */
  private revocationRefusal({ certificate, chainError, resumed }: ShownCertificate, trust: Trust): string | undefined {
    const { revocations } = this.loaded;
    if (revocations.size === 0) return undefined;
    const nowMs = Date.now();
    const sent = [...sentWith(certificate)];
    const chain = chainOf(certificate, sent, trust.authorities);
    for (const at of new Set([...sent, ...chain])) {
      const status = revocations.statusOf(at.raw, nowMs);
      if (status === 'unreadable') return 'its certificate, or one of its chain, cannot be read';
      if (status === 'revoked')
        return at === certificate ? 'its certificate is revoked' : 'an issuer of its certificate is revoked';
      if (status === 'expiredList' && this.options.settings.crlExpired === 'refuse')
        return 'the revocation list of its issuer has expired';
    }
    const last = chain.at(-1)!;
    // Some versions of Node do not show what the client sent beside its certificate (nodejs/node#65579).
    if (chainError === undefined && !resumed && !isIssuer(last, last))
      return 'an issuer of its certificate is not shown by this version of Node, nor whether it is revoked; clientCa can name it';
    return undefined;
  }

  private async askResponder(
    ocsp: OcspChecker,
    certificate: X509Certificate,
    trust: Trust,
  ): Promise<string | undefined> {
    // What the client sends next to its certificate may be anything.
    const issuer = [...sentWith(certificate), ...trust.authorities].find((candidate) =>
      isIssuer(candidate, certificate),
    );
    const answer = issuer === undefined ? undefined : await ocsp.statusOf(certificate, issuer);
    if (answer === 'revoked') return 'its certificate is revoked, says the OCSP responder';
    if (answer === 'good') return undefined;
    if (this.options.settings.ocsp === 'hard') return 'no OCSP responder vouches for its certificate';
    return undefined;
  }
}

/** The certificate and those that followed it in the handshake, each of which Node calls the issuer of the one before. */
function* sentWith(certificate: X509Certificate): Generator<X509Certificate> {
  for (let at: X509Certificate | undefined = certificate; at !== undefined; at = at.issuerCertificate) yield at;
}

/** From a certificate up, as far as its issuers are known. */
function chainOf(
  certificate: X509Certificate,
  sent: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
): X509Certificate[] {
  const chain = [certificate];
  const seen = new Set([certificate.fingerprint256]);
  for (;;) {
    const below = chain.at(-1)!;
    const issuer = [...sent, ...authorities].find(
      (candidate) => !seen.has(candidate.fingerprint256) && isIssuer(candidate, below),
    );
    if (issuer === undefined) return chain;
    seen.add(issuer.fingerprint256);
    chain.push(issuer);
  }
}

function isIssuer(candidate: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return certificate.checkIssued(candidate) && certificate.verify(candidate.publicKey);
  } catch {
    return false; // a key that cannot be read has signed nothing
  }
}

function later<Value, Result>(value: Value | Promise<Value>, then: (value: Value) => Result): Result | Promise<Result> {
  return value instanceof Promise ? value.then(then) : then(value);
}

function load({ settings, where }: ListenerTlsOptions): Loaded {
  const { psk } = settings;
  const own =
    settings.certificate === undefined && settings.keystore === undefined
      ? undefined
      : readKeyMaterial(settings, where);
  const keys = readPreSharedKeys(psk, `${where}.psk`);
  const withPsk = psk.identities.length > 0 || psk.file !== undefined;
  const trust = readTrust(settings.clientCa, settings.trustSystemStore, where);
  const revocations = new Revocations(settings.crl, trust.authorities, where);
  const warnings = [...(own?.warnings ?? []), ...revocations.warnings];
  const files = [...(own?.files ?? []), ...trust.files, ...settings.crl, ...(psk.file === undefined ? [] : [psk.file])];
  // A resumed session brings the client's certificate without its issuers, of which OCSP needs the first.
  const tickets = settings.sessionTickets && !withPsk && settings.ocsp === 'off';
  const shared: SecureContextOptions = {
    minVersion: settings.versionMin as SecureVersion,
    maxVersion: settings.versionMax as SecureVersion,
    ciphers: cipherList(settings, own !== undefined, withPsk),
    honorCipherOrder: true,
    // The groups of DHE are chosen by the size of the certificate's key.
    dhparam: 'auto',
    // Renegotiation: nobody needs it, and each costs us more than the client.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | (tickets ? 0 : constants.SSL_OP_NO_TICKET),
    // Without authorities of its own Node would trust those it was built with.
    ca: [...trust.pem],
  };
  const make = (material: KeyMaterial | undefined, place: string): SecureContextOptions => {
    const context: SecureContextOptions =
      material === undefined ? shared : { ...shared, cert: material.certificatePem, key: material.keyPem };
    tryContext(context, material, place, settings);
    return context;
  };
  const byName = new Map<string, SecureContext>();
  settings.servers.forEach((server, index) => {
    const place = `${where}.servers[${index}]`;
    const material = readKeyMaterial(server, place);
    warnings.push(...material.warnings);
    files.push(...material.files);
    const context = createSecureContext(make(material, place));
    for (const name of server.names) byName.set(name.toLowerCase(), context);
  });
  return { own, byName, trust, revocations, keys, context: make(own, where), warnings, files: [...new Set(files)] };
}

/** What OpenSSL refuses is refused now, not at the first handshake. */
function tryContext(
  options: SecureContextOptions,
  material: KeyMaterial | undefined,
  where: string,
  settings: TlsSettings,
): void {
  try {
    createSecureContext(options);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const reason = (error as { reason?: string }).reason ?? message;
    if (/CIPHER/.test(code) || /cipher/i.test(message))
      throw tlsFault(
        `${where}.ciphers: OpenSSL does not take ${JSON.stringify([settings.cipherSuites, settings.ciphers].filter((list) => list !== '').join(' and ') || CIPHER_SUITES)}: ${reason}`,
        error,
      );
    throw tlsFault(
      `${where}: OpenSSL does not take ${material?.files.join(' and ') ?? 'these settings'}: ${reason}`,
      error,
    );
  }
}

/** By the whole name, or by a wildcard in place of its first label. */
function contextFor(byName: ReadonlyMap<string, SecureContext>, asked: string): SecureContext | undefined {
  const name = asked.toLowerCase();
  return byName.get(name) ?? byName.get(name.replace(/^[^.]+/, '*'));
}
