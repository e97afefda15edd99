/**
 * The built-in certificate authority: one folder with the authority, the server's certificate, the list of clients'
 * certificates and the revocation list.
 *
 *   open ──▶ create what is missing ──▶ issue · sign · add · revoke · authorize · remove · renew ──▶ decide
 *               ▲                                    │ every change: lock, read again, write, tell listeners
 *               └── daily: server certificate, revocation list
 *
 * Several processes may have one folder open: a change is made under a lock on what the folder holds then, and the others
 * read again what changed. Questions (`decide`, `list`) are answered from memory.
 *
 * Each file of the folder has one owner: `pair` the authority's certificate and key, `server` those of the server, `index` the
 * list, `revoked` the revocation list. Here is what concerns several of them, and that changes are made under the lock.
 *
 * Invariant  nothing is replaced without a copy under `replaced/`.
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import { type Clock, type Logger, silentLogger, systemClock } from '../../base/index.js';
import type { AuthorityContext } from './authority-context.js';
import { AuthorityFiles, type CertificateAndKey, CRL_FILE } from './authority-files.js';
import { type AuthorityDescription, AuthorityPair, type AuthorityTerms } from './authority-pair.js';
import { CertificateIndex } from './certificate-index.js';
import type { ListedCertificate, RevocationReason } from './certificate-list.js';
import {
  type AcceptanceOptions,
  type Decision,
  decide,
  type ShownStanding,
  type ShownToAuthority,
  shownStanding,
} from './decide.js';
import { type AuthorityChange, FolderChanges } from './folder-changes.js';
import { Issuance, type Issued, type IssueTerms, type RenewTerms, type SignTerms } from './issuance.js';
import { readServerNames } from './names.js';
import { type AuthoritySettings, DAY_MS, type KeyType, usualAuthoritySettings } from './options.js';
import { type RevocationListDescription, RevokedCertificates } from './revoked-certificates.js';
import type { ServerCertificate } from './server-certificate.js';
import { ServerPair } from './server-pair.js';

export interface AuthorityHost {
  readonly log?: Logger;
  readonly clock?: Clock;
  /** `create` makes an authority where there is none; `use` needs one; `read` too and changes nothing; `begin` waits to be told. */
  readonly mode?: 'create' | 'use' | 'read' | 'begin';
}

const MAINTENANCE_INTERVAL_MS = DAY_MS;

export class CertificateAuthority {
  private readonly context: AuthorityContext;
  private readonly pair: AuthorityPair;
  private readonly index: CertificateIndex;
  private readonly revoked: RevokedCertificates;
  private readonly server: ServerPair;
  private readonly issuance: Issuance;
  private readonly changes: FolderChanges;
  private timer: NodeJS.Timeout | undefined;

  private constructor(folder: string, settings: Partial<AuthoritySettings>, { log, clock }: AuthorityHost) {
    const context: AuthorityContext = {
      files: new AuthorityFiles(folder),
      settings: { ...usualAuthoritySettings, ...settings },
      log: log ?? silentLogger,
      clock: clock ?? systemClock,
    };
    this.context = context;
    this.pair = new AuthorityPair(context);
    this.index = new CertificateIndex(context, this.pair);
    this.revoked = new RevokedCertificates(context, this.pair, this.index);
    this.server = new ServerPair(context, this.pair, this.index);
    this.issuance = new Issuance(context, this.pair, this.index, this.revoked);
    this.changes = new FolderChanges(context.files, {
      read: () => this.read(),
      marks: () => ({
        authority: this.pair.mark,
        server: this.server.mark,
        crl: this.revoked.mark,
        list: this.index.list.data,
      }),
    });
  }

  /**
   * Opens the folder, makes what is missing, renews what is due.
   *
   * Errors  `Fault` CA_MISSING when there is no authority and none may be made, CA_DAMAGED naming the file that cannot be read,
   *         CA_IN_USE; errors of `node:fs` when the folder cannot be read or written.
   */
  static async open(
    folder: string,
    settings: Partial<AuthoritySettings> = {},
    host: AuthorityHost = {},
  ): Promise<CertificateAuthority> {
    const authority = new CertificateAuthority(folder, settings, host);
    const { context, pair, changes } = authority;
    const { mode = 'create' } = host;
    if (mode === 'read' || mode === 'begin') {
      authority.read();
      if (mode === 'read') authority.authority(); // there must be one
      return authority;
    }
    if (mode === 'use') pair.expectFiles();
    await changes.make(async () => {
      if (!pair.isThere) await authority.makeAuthority({});
      await authority.renewWhatIsDue();
    });
    for (const sentence of context.files.exposedKeys()) context.log.warning('authority.key-exposed', sentence);
    return authority;
  }

  get folder(): string {
    return this.context.files.folder;
  }

  /** Paths for a listener's settings; `crl` only counts while the authority has its key. */
  get paths(): { readonly ca: string; readonly certificate: string; readonly key: string; readonly crl: string } {
    const path = (name: string) => this.context.files.path(name);
    return { ca: path('ca.pem'), certificate: path('server.pem'), key: path('server.key'), crl: path(CRL_FILE) };
  }

  // ---- the authority ----

  /** The authority's certificate first, then its issuers up to the root. Without private key. */
  authority(): readonly X509Certificate[] {
    return this.pair.chain;
  }

  describe(): AuthorityDescription {
    return this.pair.describe();
  }

  /** Makes a new authority. Errors: `Fault` CA_EXISTS when there is one and `replace` is not given. */
  create(
    terms: AuthorityTerms & {
      /** Of the server's certificate, besides the machine's and the configured ones. */
      readonly serverNames?: readonly string[];
      readonly replace?: boolean;
    },
  ): Promise<void> {
    return this.changes.make(async () => {
      this.pair.expectReplaceable(terms.replace ?? false);
      const { serverNames = [] } = terms;
      readServerNames(serverNames);
      await this.makeAuthority(terms);
      if (serverNames.length > 0) this.server.remember(serverNames);
      await this.renewWhatIsDue();
    });
  }

  /**
   * Takes over an authority made elsewhere. Without its key nothing is issued here.
   *
   * Shape   chain: the authority's certificate and its issuers up to the root, in any order after the first.
   * Errors  `Fault` CA_INPUT saying what is wrong with it, CA_EXISTS as `create`.
   */
  import(chain: readonly X509Certificate[], key: KeyObject | undefined, { replace = false } = {}): Promise<void> {
    return this.changes.make(async () => {
      this.replaceAuthority(this.pair.accept(chain, key, replace));
      await this.renewWhatIsDue();
    });
  }

  /** A new certificate of the authority for the same key and name: what it has issued stays valid. */
  renewAuthority(days = this.context.settings.days): Promise<void> {
    return this.changes.make(async () => {
      await this.pair.renew(days);
      await this.renewWhatIsDue();
    });
  }

  // ---- the server's certificate ----

  serverCertificate(): ServerCertificate | undefined {
    return this.server.describe();
  }

  /** The server's certificate with its issuers, without private key. */
  serverChain(): readonly X509Certificate[] {
    return this.server.chain;
  }

  /** A new certificate with a new key, for `names` or else the names of the machine. */
  createServer(terms: { names?: readonly string[]; days?: number; keyType?: KeyType } = {}): Promise<void> {
    return this.changes.make(() => this.server.create(terms));
  }

  /** Errors: `Fault` CA_INPUT when the key is another one's. */
  importServer(chain: readonly X509Certificate[], key: KeyObject): Promise<void> {
    return this.changes.make(async () => this.server.import(chain, key));
  }

  // ---- clients ----

  certificates(): readonly ListedCertificate[] {
    return this.index.list.listed;
  }

  /** Errors: `Fault` CA_UNKNOWN. */
  find(reference: string): ListedCertificate {
    return this.index.list.find(reference);
  }

  /** All that `reference` means: a common name may stand for several. Errors: `Fault` CA_UNKNOWN. */
  findAll(reference: string): readonly ListedCertificate[] {
    return this.index.list.findAll(reference);
  }

  /** The certificate of an entry; undefined when only its serial number and issuer are known. */
  certificateOf(entry: ListedCertificate): X509Certificate | undefined {
    return this.index.certificateOf(entry);
  }

  /** Makes a key and a certificate for it. Errors: `Fault` CA_INPUT, CA_NO_KEY. */
  issue(terms: IssueTerms): Promise<Issued> {
    return this.changes.make(() => this.issuance.issue(terms));
  }

  /** Makes a certificate for a key that its owner keeps. `bytes` is a PKCS#10 request, PEM or DER; `what` names it in messages. */
  sign(bytes: Buffer, terms: SignTerms = {}, what = 'the request'): Promise<Issued> {
    return this.changes.make(() => this.issuance.sign(bytes, terms, what));
  }

  /**
   * A certificate in the place of one issued here, with the same subject, for the same key or a new one. The old one stays valid
   * until it expires, so that the client can change over; `revokeOld` ends it at once.
   */
  renew(reference: string, terms: RenewTerms = {}): Promise<Issued> {
    return this.changes.make(() => this.issuance.renew(reference, terms));
  }

  /** Puts a certificate made elsewhere on the list, as authorized; one that is there stays as it is. */
  add(certificate: X509Certificate): Promise<ListedCertificate> {
    return this.changes.make(async () => this.index.add(certificate));
  }

  /** Puts a certificate of which only serial number and issuer are known on the list: it counts where its chain is trusted. */
  addIdentity(identity: { serialNumber: string; issuer: string }): Promise<ListedCertificate> {
    return this.changes.make(async () => this.index.addIdentity(identity));
  }

  revoke(reference: string, reason?: RevocationReason): Promise<ListedCertificate> {
    return this.changes.make(() => this.revoked.revoke(reference, reason));
  }

  /** Takes a revocation back. Errors: `Fault` CA_INPUT when the key was lost to somebody else, unless `force`. */
  authorize(reference: string, { force = false } = {}): Promise<ListedCertificate> {
    return this.changes.make(() => this.revoked.authorize(reference, force));
  }

  /**
   * Takes a certificate off the list. What was issued here is remembered, and stays revoked when it was; an added one is
   * forgotten, its revocation with it.
   */
  remove(reference: string): Promise<ListedCertificate> {
    return this.changes.make(() => this.revoked.remove(reference));
  }

  // ---- answers ----

  /** Whether a client may come in with what it showed. */
  decide(shown: ShownToAuthority | undefined, options: AcceptanceOptions): Decision {
    return decide(shown, options, this.index.list, this.context.clock.nowMs());
  }

  /** `decide` for a handshake: why the certificate is refused; undefined lets it in. */
  judge(options: AcceptanceOptions): (der: Buffer, trusted: boolean) => string | undefined {
    return (der, trusted) => {
      const decision = this.decide({ der, trusted }, options);
      return decision.allow ? undefined : decision.reason;
    };
  }

  /** For connections made before: whether the list has revoked their certificate since. */
  isRevoked(der: Buffer): boolean {
    return this.standing(der, false) === 'revoked';
  }

  /** What the list says of a certificate that was shown. */
  standing(der: Buffer, trusted: boolean): ShownStanding {
    return shownStanding({ der, trusted }, this.index.list);
  }

  /** The revocation list as it is served over HTTP (`application/pkix-crl` is DER); undefined without the authority's key. */
  revocationList(form: 'pem' | 'der'): Buffer | undefined {
    return this.revoked.revocationList(form);
  }

  describeRevocationList(): RevocationListDescription | undefined {
    return this.revoked.describeRevocationList();
  }

  // ---- living on ----

  onChange(listener: (change: AuthorityChange) => void): () => void {
    return this.changes.onChange(listener);
  }

  /** Renews what is due now. */
  maintain(): Promise<void> {
    return this.changes.make(() => this.renewWhatIsDue());
  }

  /** Makes the revocation list anew though it is current. Errors: `Fault` CA_NO_KEY. */
  refreshRevocationList(): Promise<void> {
    return this.changes.make(() => this.revoked.refresh());
  }

  /** From now on renews daily, and reads again what others change in the folder. Failures are logged. */
  start(): void {
    if (this.timer !== undefined) return;
    const failed = (what: string) => (error: unknown) =>
      this.context.log.error('authority.failed', `${what}: ${(error as Error).message}`, { folder: this.folder });
    this.timer = setInterval(
      () => void this.maintain().catch(failed('Certificates could not be renewed')),
      MAINTENANCE_INTERVAL_MS,
    ).unref();
    this.changes.startWatching(failed('Files changed, but what was read before stays in use'));
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.changes.stopWatching();
  }

  /** Reads the folder again; tells listeners what another process has changed. */
  readAgain(): void {
    this.changes.readAgain();
  }

  private read(): void {
    this.index.read();
    this.pair.read();
    this.server.read();
    this.revoked.read();
  }

  // ---- under the lock ----

  private async makeAuthority(terms: AuthorityTerms): Promise<void> {
    const { name, pair } = await this.pair.make(terms);
    this.replaceAuthority(pair);
    this.context.log.information('authority.created', 'A certificate authority was created.', {
      folder: this.folder,
      subject: name,
      sha256: this.describe().sha256,
    });
  }

  private replaceAuthority(pair: CertificateAndKey): void {
    if (!this.pair.hasKeyOf(pair.chain[0]!)) this.revoked.beginAnew();
    this.pair.replace(pair);
  }

  private async renewWhatIsDue(): Promise<void> {
    this.pair.warnBeforeItExpires();
    await this.server.renewWhenDue();
    await this.revoked.renewWhenDue();
  }
}
