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
 * Invariants  a revocation is in the index before the list that tells of it is made; a private key of a client is handed out
 * once and never kept; nothing is replaced without a copy under `replaced/`.
 */
import { createHash, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { type Clock, type Fault, type Logger, silentLogger, systemClock } from '../../base/index.js';
import { certificateFields } from '../certificate-fields.js';
import { describeCertificate } from '../client-certificate.js';
import { FileWatch } from '../file-watch.js';
import { isSelfSigned } from '../key-material.js';
import { toPem } from '../pem.js';
import { authorityFault } from './authority-fault.js';
import { AuthorityFiles, type CertificateAndKey } from './authority-files.js';
import {
  CertificateList,
  certificateId,
  formatList,
  identityId,
  type ListedCertificate,
  parseList,
  type RevocationReason,
  revocationReasons,
  type ServerRecord,
} from './certificate-list.js';
import { chainFrom, readCertificates } from './certificate-text.js';
import { authorityFaultOf, checkedDays, checkedKeyType, namesForPurpose, usualAuthorityName } from './checks.js';
import { type AcceptanceOptions, type Decision, decide, type ShownToAuthority, standingOf } from './decide.js';
import { keyTypeOf, makeKey, publicKeyFault, publicKeyThumbprint, signingKeyFault } from './keys.js';
import {
  basicConstraintsOf,
  type CertificateTerms,
  makeCertificate,
  makeRevocationList,
  type Signer,
  subjectOf,
} from './making.js';
import {
  checkedCommonName,
  checkedSubject,
  machineNames,
  nameKey,
  readServerNames,
  type SubjectPart,
} from './names.js';
import { type AuthoritySettings, type KeyType, keyTypes, usualAuthoritySettings } from './options.js';
import { readRequest } from './request.js';
import { type RevocationListFile, readOwnRevocationList } from './revocation-list-file.js';
import {
  describeServer,
  namesOf,
  needsServerCertificate,
  type ServerCertificate,
  serverSubject,
} from './server-certificate.js';

export interface AuthorityHost {
  readonly log?: Logger;
  readonly clock?: Clock;
  /** `create` makes an authority where there is none; `use` needs one; `read` too and changes nothing; `begin` waits to be told. */
  readonly mode?: 'create' | 'use' | 'read' | 'begin';
}

export type AuthorityChange = 'authority' | 'server' | 'crl' | 'list';

export interface AuthorityDescription {
  readonly subject: string;
  readonly issuer: string;
  readonly serialNumber: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** hexadecimal, lower case */
  readonly sha1: string;
  readonly sha256: string;
  readonly keyType: string;
  /** Why no certificates are issued; undefined when they are. */
  readonly cannotIssue: string | undefined;
}

export interface IssueTerms {
  readonly commonName: string;
  readonly organization?: string | undefined;
  readonly days?: number | undefined;
  readonly keyType?: KeyType | undefined;
  readonly purpose?: 'client' | 'server' | undefined;
  /** For a server: the names and addresses it answers to. */
  readonly names?: readonly string[] | undefined;
}

export type SignTerms = Omit<IssueTerms, 'commonName' | 'keyType'> & { readonly commonName?: string | undefined };

export interface Issued {
  readonly entry: ListedCertificate;
  /** The certificate first, then its issuers without the root. */
  readonly chain: readonly X509Certificate[];
  /** Made for it, and kept nowhere; undefined when the client has its own. */
  readonly key: KeyObject | undefined;
  /** What was asked for and not given, in words. */
  readonly notGranted: readonly string[];
}

const DAY_MS = 86_400_000;
const MAINTENANCE_INTERVAL_MS = DAY_MS;
/** For clocks that are behind ours. */
const BACKDATE_MS = 3_600_000;
/** A revoked certificate stays on the revocation list this long after it expired. */
const REMEMBERED_AFTER_EXPIRY_MS = 30 * DAY_MS;
const AUTHORITY_EXPIRES_SOON_MS = 365 * DAY_MS;
const CERTIFICATES_MAX = 200_000;
const INDEX = 'index.json';
const CRL = 'crl.pem';

export class CertificateAuthority {
  private readonly files: AuthorityFiles;
  private readonly settings: AuthoritySettings;
  private readonly log: Logger;
  private readonly clock: Clock;
  private readonly listeners = new Set<(change: AuthorityChange) => void>();
  private list: CertificateList = CertificateList.empty;
  /** SHA-256 of the index that `list` was read from; empty when there was none. */
  private listDigest = '';
  private pair: CertificateAndKey | undefined;
  private server: CertificateAndKey | undefined;
  private crl: RevocationListFile | undefined;
  private watch: FileWatch | undefined;
  private timer: NodeJS.Timeout | undefined;

  private constructor(folder: string, settings: Partial<AuthoritySettings>, { log, clock }: AuthorityHost) {
    this.files = new AuthorityFiles(folder);
    this.settings = { ...usualAuthoritySettings, ...settings };
    this.log = log ?? silentLogger;
    this.clock = clock ?? systemClock;
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
    const { mode = 'create' } = host;
    if (mode === 'read' || mode === 'begin') {
      authority.readAll();
      if (mode === 'read') authority.authority(); // there must be one
      return authority;
    }
    if (
      mode === 'use' &&
      authority.files.read('ca.pem') === undefined &&
      authority.files.read('ca.pem.new') === undefined
    )
      throw missing(folder);
    await authority.change(async () => {
      if (authority.pair === undefined) await authority.makeAuthority({});
      await authority.maintainLocked();
    });
    for (const sentence of authority.files.exposedKeys()) authority.log.warning('authority.key-exposed', sentence);
    return authority;
  }

  get folder(): string {
    return this.files.folder;
  }

  /** Paths for a listener's settings; `crl` only counts while the authority has its key. */
  get paths(): { readonly ca: string; readonly certificate: string; readonly key: string; readonly crl: string } {
    const path = (name: string) => this.files.path(name);
    return { ca: path('ca.pem'), certificate: path('server.pem'), key: path('server.key'), crl: path(CRL) };
  }

  // ---- the authority ----

  /** The authority's certificate first, then its issuers up to the root. Without private key. */
  authority(): readonly X509Certificate[] {
    if (this.pair === undefined) throw missing(this.folder);
    return this.pair.chain;
  }

  describe(): AuthorityDescription {
    const [certificate] = this.authority();
    const described = describeCertificate(certificate!.raw, true)!;
    return {
      subject: described.subject,
      issuer: described.issuer,
      serialNumber: described.serialNumber,
      notBefore: iso(certificateFields(certificate!.raw).notBeforeMs),
      notAfter: iso(described.notAfterMs),
      sha1: plainThumbprint(certificate!.fingerprint),
      sha256: described.thumbprint,
      keyType: keyTypeOf(certificate!.publicKey),
      cannotIssue: this.cannotIssue(),
    };
  }

  /** Makes a new authority. Errors: `Fault` CA_EXISTS when there is one and `replace` is not given. */
  create(terms: {
    name?: string;
    days?: number;
    keyType?: KeyType;
    /** Of the server's certificate, besides the machine's and the configured ones. */
    serverNames?: readonly string[];
    replace?: boolean;
  }): Promise<void> {
    return this.change(async () => {
      this.mayReplace(terms.replace);
      const { serverNames = [] } = terms;
      readServerNames(serverNames);
      await this.makeAuthority(terms);
      if (serverNames.length > 0)
        this.writeList(this.list.replace({ server: { origin: 'automatic', names: serverNames } }));
      await this.maintainLocked();
    });
  }

  /**
   * Takes over an authority made elsewhere. Without its key nothing is issued here.
   *
   * Shape   chain: the authority's certificate and its issuers up to the root, in any order after the first.
   * Errors  `Fault` CA_INPUT saying what is wrong with it, CA_EXISTS as `create`.
   */
  import(chain: readonly X509Certificate[], key: KeyObject | undefined, { replace = false } = {}): Promise<void> {
    return this.change(async () => {
      const fault = authorityFaultOf(chain, key, this.clock.nowMs());
      if (fault !== undefined) throw authorityFault('CA_INPUT', fault);
      const same = thumbprintOf(this.pair) === chain[0]!.fingerprint256;
      if (same && this.pair?.key !== undefined && key === undefined)
        throw authorityFault('CA_EXISTS', 'this authority is here already, with its key');
      // The key of the same authority takes nothing away.
      if (!same) this.mayReplace(replace);
      this.replaceAuthority({ chain: chainFrom(chain), key });
      await this.maintainLocked();
    });
  }

  /** A new certificate of the authority for the same key and name: what it has issued stays valid. */
  renewAuthority(days = this.settings.days): Promise<void> {
    return this.change(async () => {
      const { certificate, key } = this.signer();
      if (!isSelfSigned(certificate))
        throw authorityFault('CA_INPUT', 'this authority was certified by another, which has to renew it');
      const renewed = await this.selfSigned(subjectOf(certificate), key, days, basicConstraintsOf(certificate));
      this.replaceAuthority({ chain: [renewed], key });
      await this.maintainLocked();
    });
  }

  // ---- the server's certificate ----

  serverCertificate(): ServerCertificate | undefined {
    const [certificate] = this.server?.chain ?? [];
    return certificate === undefined
      ? undefined
      : describeServer(certificate, this.list.data.server?.origin ?? 'imported');
  }

  /** The server's certificate with its issuers, without private key. */
  serverChain(): readonly X509Certificate[] {
    return this.server?.chain ?? [];
  }

  /** A new certificate with a new key, for `names` or else the names of the machine. */
  createServer(terms: { names?: readonly string[]; days?: number; keyType?: KeyType } = {}): Promise<void> {
    return this.change(async () => {
      const names = terms.names ?? [];
      readServerNames(names);
      const origin = names.length === 0 ? 'automatic' : 'created';
      await this.makeServer({ origin, names }, await makeKey(terms.keyType ?? this.settings.keyType), terms.days);
    });
  }

  /** Errors: `Fault` CA_INPUT when the key is another one's. */
  importServer(chain: readonly X509Certificate[], key: KeyObject): Promise<void> {
    return this.change(async () => {
      if (!chain[0]!.checkPrivateKey(key))
        throw authorityFault('CA_INPUT', 'the private key is not that of the certificate');
      const fault = publicKeyFault(createPublicKey(key));
      if (fault !== undefined) throw authorityFault('CA_INPUT', fault);
      this.replaceServer({ chain: chainFrom(chain), key }, { origin: 'imported', names: [] });
    });
  }

  // ---- clients ----

  certificates(): readonly ListedCertificate[] {
    return this.list.listed;
  }

  /** Errors: `Fault` CA_UNKNOWN. */
  find(reference: string): ListedCertificate {
    return this.list.find(reference);
  }

  /** All that `reference` means: a common name may stand for several. Errors: `Fault` CA_UNKNOWN. */
  findAll(reference: string): readonly ListedCertificate[] {
    return this.list.findAll(reference);
  }

  /** The certificate of an entry; undefined when only its serial number and issuer are known. */
  certificateOf({ id }: ListedCertificate): X509Certificate | undefined {
    const pem = this.files.read(`clients/${id}.pem`);
    return pem === undefined ? undefined : readCertificates(pem, this.files.path(`clients/${id}.pem`))[0];
  }

  /** Makes a key and a certificate for it. Errors: `Fault` CA_INPUT, CA_NO_KEY. */
  issue(terms: IssueTerms): Promise<Issued> {
    return this.change(async () => {
      const { commonName, organization, purpose = 'client', days, keyType = this.settings.keyType } = terms;
      this.signer();
      const subject = clientSubject(checkedCommonName(commonName), organization);
      const names = namesForPurpose(purpose, terms.names);
      const key = await makeKey(checkedKeyType(keyType));
      return this.certify({ subject, publicKey: createPublicKey(key), purpose, names, days, key, notGranted: [] });
    });
  }

  /** Makes a certificate for a key that its owner keeps. `bytes` is a PKCS#10 request, PEM or DER; `what` names it in messages. */
  sign(bytes: Buffer, terms: SignTerms = {}, what = 'the request'): Promise<Issued> {
    return this.change(async () => {
      this.signer();
      const request = readRequest(bytes, what);
      const { commonName, organization, purpose = 'client', days } = terms;
      const asked = request.subject.filter(
        ({ type }) => type !== 'CN' && !(type === 'O' && organization !== undefined),
      );
      const name = commonName ?? request.subject.findLast(({ type }) => type === 'CN')?.value;
      if (name === undefined) throw authorityFault('CA_INPUT', `${what} names no common name; give one`);
      const subject = checkedSubject([...asked, ...clientSubject(checkedCommonName(name), organization)]);
      const names = namesForPurpose(purpose, terms.names);
      return this.certify({ ...request, subject, purpose, names, days, key: undefined });
    });
  }

  /**
   * A certificate in the place of one issued here, with the same subject, for the same key or a new one. The old one stays valid
   * until it expires, so that the client can change over; `revokeOld` ends it at once.
   */
  renew(reference: string, terms: { days?: number; newKey?: boolean; revokeOld?: boolean } = {}): Promise<Issued> {
    return this.change(async () => {
      this.signer();
      const old = this.list.find(reference);
      const certificate = this.certificateOf(old);
      if (old.origin !== 'issued' || certificate === undefined)
        throw authorityFault('CA_INPUT', `${mentionEntry(old)} was not issued here and cannot be renewed here`);
      if (old.state === 'revoked')
        throw authorityFault('CA_INPUT', `${mentionEntry(old)} is revoked and cannot be renewed`);
      const type = keyTypeOf(certificate.publicKey);
      const key = terms.newKey
        ? await makeKey(keyTypes.find((known) => known === type) ?? this.settings.keyType)
        : undefined;
      const issued = await this.certify({
        subject: subjectOf(certificate),
        publicKey: key === undefined ? certificate.publicKey : createPublicKey(key),
        purpose: old.purpose,
        names: old.purpose === 'server' ? readServerNames(namesOf(certificate)) : [],
        days: terms.days,
        key,
        notGranted: [],
        renews: old.id,
      });
      if (terms.revokeOld) await this.revokeLocked(old, 'superseded');
      return issued;
    });
  }

  /** Puts a certificate made elsewhere on the list, as authorized; one that is there stays as it is. */
  add(certificate: X509Certificate): Promise<ListedCertificate> {
    return this.change(async () => {
      const described = describeCertificate(certificate.raw, false);
      if (described === undefined) throw authorityFault('CA_INPUT', 'the certificate cannot be read');
      const known = this.list.get(certificateId(described.thumbprint));
      if (known !== undefined && known.removedAt === undefined) return known;
      const entry = known === undefined ? this.describeEntry(certificate, 'client', 'added') : listedAgain(known);
      this.write(entry, certificate);
      return entry;
    });
  }

  /** Puts a certificate of which only serial number and issuer are known on the list: it counts where its chain is trusted. */
  addIdentity({ serialNumber, issuer }: { serialNumber: string; issuer: string }): Promise<ListedCertificate> {
    return this.change(async () => {
      const serial = serialNumber
        .replace(/[: ]/g, '')
        .replace(/^0x/i, '')
        .toUpperCase()
        .replace(/^0+(?=.)/, '');
      if (!/^[0-9A-F]{1,64}$/.test(serial))
        throw authorityFault('CA_INPUT', `a serial number is hexadecimal, not ${JSON.stringify(serialNumber)}`);
      if (nameKey(issuer) === undefined)
        throw authorityFault(
          'CA_INPUT',
          `an issuer is a distinguished name such as CN=Plant CA,O=Example, not ${JSON.stringify(issuer)}`,
        );
      const id = identityId(serial, issuer);
      const known = this.list.get(id);
      if (known !== undefined && known.removedAt === undefined) return known;
      const addedAt = iso(this.clock.nowMs());
      const entry: ListedCertificate =
        known === undefined
          ? { id, purpose: 'client', origin: 'added', state: 'authorized', serialNumber: serial, issuer, addedAt }
          : listedAgain(known);
      this.write(entry);
      return entry;
    });
  }

  revoke(reference: string, reason: RevocationReason = 'unspecified'): Promise<ListedCertificate> {
    return this.change(async () => {
      if (!revocationReasons.includes(reason))
        throw authorityFault(
          'CA_INPUT',
          `${JSON.stringify(reason)} is no reason; there are ${revocationReasons.join(', ')}`,
        );
      return this.revokeLocked(this.list.find(reference), reason);
    });
  }

  /** Takes a revocation back. Errors: `Fault` CA_INPUT when the key was lost to somebody else, unless `force`. */
  authorize(reference: string, { force = false } = {}): Promise<ListedCertificate> {
    return this.change(async () => {
      const entry = this.list.find(reference);
      if (entry.state === 'authorized') return entry;
      if (!force && (entry.reason === 'keyCompromise' || entry.reason === 'caCompromise'))
        throw authorityFault(
          'CA_INPUT',
          `${mentionEntry(entry)} was revoked because its key was compromised: somebody else may have it`,
        );
      const { revokedAt, reason, ...rest } = entry;
      const authorized: ListedCertificate = { ...rest, state: 'authorized' };
      await this.writeCrl(this.list.with(authorized));
      return authorized;
    });
  }

  /**
   * Takes a certificate off the list. What was issued here is remembered, and stays revoked when it was; an added one is
   * forgotten, its revocation with it.
   */
  remove(reference: string): Promise<ListedCertificate> {
    return this.change(async () => {
      const entry = this.list.find(reference);
      if (entry.authority !== undefined) this.write({ ...entry, removedAt: iso(this.clock.nowMs()) });
      else {
        this.files.keep([`clients/${entry.id}.pem`], this.clock.nowMs());
        this.files.remove(`clients/${entry.id}.pem`);
        await this.writeCrl(this.list.without(entry.id));
      }
      return entry;
    });
  }

  // ---- answers ----

  /** Whether a client may come in with what it showed. */
  decide(shown: ShownToAuthority | undefined, options: AcceptanceOptions): Decision {
    return decide(shown, options, this.list, this.clock.nowMs());
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
    const described = describeCertificate(der, false);
    return described !== undefined && standingOf(described, this.list) === 'revoked';
  }

  /** What the list says of a certificate that was shown. */
  standing(der: Buffer, trusted: boolean): 'authorized' | 'revoked' | 'unlisted' {
    const described = describeCertificate(der, trusted);
    if (described === undefined) return 'unlisted';
    const standing = standingOf(described, this.list);
    if (standing === 'authorizedIfTrusted') return trusted ? 'authorized' : 'unlisted';
    return standing;
  }

  /** The revocation list as it is served over HTTP (`application/pkix-crl` is DER); undefined without the authority's key. */
  revocationList(form: 'pem' | 'der'): Buffer | undefined {
    if (this.crl === undefined) return undefined;
    return form === 'der' ? this.crl.der : Buffer.from(toPem('X509 CRL', this.crl.der));
  }

  describeRevocationList(): { number: number; thisUpdate: string; nextUpdate: string; revoked: number } | undefined {
    if (this.crl === undefined) return undefined;
    const { number, thisUpdateMs, nextUpdateMs, revoked } = this.crl;
    return { number, thisUpdate: iso(thisUpdateMs), nextUpdate: iso(nextUpdateMs), revoked };
  }

  // ---- living on ----

  onChange(listener: (change: AuthorityChange) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Renews what is due now. */
  maintain(): Promise<void> {
    return this.change(() => this.maintainLocked());
  }

  /** Makes the revocation list anew though it is current. Errors: `Fault` CA_NO_KEY. */
  refreshRevocationList(): Promise<void> {
    return this.change(async () => {
      this.signer();
      await this.writeCrl(this.list);
    });
  }

  /** From now on renews daily, and reads again what others change in the folder. Failures are logged. */
  start(): void {
    if (this.timer !== undefined) return;
    const failed = (what: string) => (error: unknown) =>
      this.log.error('authority.failed', `${what}: ${(error as Error).message}`, { folder: this.folder });
    this.timer = setInterval(
      () => void this.maintain().catch(failed('Certificates could not be renewed')),
      MAINTENANCE_INTERVAL_MS,
    ).unref();
    this.watch = new FileWatch(
      ['ca.pem', 'ca.key', 'server.pem', 'server.key', CRL, INDEX].map((name) => this.files.path(name)),
      () => {
        try {
          this.readAgain();
        } catch (error) {
          failed('Files changed, but what was read before stays in use')(error);
        }
      },
    );
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.watch?.stop();
    this.watch = undefined;
  }

  /** Reads the folder again; tells listeners what another process has changed. */
  readAgain(): void {
    const before = this.state();
    this.readAll();
    this.tell(before);
  }

  // ---- changes, under the lock ----

  private change<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.files.exclusive(async () => {
      const before = this.state();
      this.files.settle('ca');
      this.files.settle('server');
      this.readAll();
      try {
        return await work();
      } finally {
        this.tell(before);
      }
    });
  }

  private readAll(): void {
    const text = this.files.read(INDEX);
    const digest = text === undefined ? '' : digestOf(text);
    if (digest !== this.listDigest) {
      this.list = text === undefined ? CertificateList.empty : parseList(text.toString('utf8'), this.files.path(INDEX));
      this.listDigest = digest;
    }
    this.pair = this.files.readPair('ca');
    this.server = this.files.readPair('server');
    const crl = this.files.read(CRL);
    this.crl =
      crl === undefined || this.pair === undefined ? undefined : readOwnRevocationList(crl, this.pair.chain[0]!);
  }

  private state(): Record<AuthorityChange, unknown> {
    return {
      authority: `${thumbprintOf(this.pair)} ${this.pair?.key !== undefined}`,
      server: thumbprintOf(this.server),
      crl: this.crl?.der.toString('base64'),
      list: this.list.data,
    };
  }

  private tell(before: Record<AuthorityChange, unknown>): void {
    const now = this.state();
    for (const change of Object.keys(now) as AuthorityChange[])
      if (now[change] !== before[change]) for (const listener of this.listeners) listener(change);
  }

  private writeList(list: CertificateList): void {
    if (list.data.certificates.length > CERTIFICATES_MAX)
      throw authorityFault('CA_INPUT', `the list is full: it holds at most ${CERTIFICATES_MAX} certificates`);
    const text = formatList(list.data);
    this.files.writeKeepingPrevious(INDEX, text, 'private');
    this.list = list;
    this.listDigest = digestOf(text);
  }

  private write(entry: ListedCertificate, certificate?: X509Certificate): void {
    if (certificate !== undefined) this.files.write(`clients/${entry.id}.pem`, certificate.toString(), 'public');
    this.writeList(this.list.with(entry));
  }

  private async revokeLocked(entry: ListedCertificate, reason: RevocationReason): Promise<ListedCertificate> {
    const revokedAt = entry.revokedAt ?? iso(this.clock.nowMs());
    const revoked: ListedCertificate = { ...entry, state: 'revoked', revokedAt, reason };
    await this.writeCrl(this.list.with(revoked));
    this.log.information('authority.revoked', 'A certificate was revoked.', { certificate: entry.id, reason });
    return revoked;
  }

  private mayReplace(replace = false): void {
    if (this.pair === undefined || replace) return;
    const { subject } = this.describe();
    throw authorityFault(
      'CA_EXISTS',
      `${this.folder} holds an authority already (${subject}); replacing it ends the trust in all it has issued, and has to be asked for`,
    );
  }

  private async makeAuthority(terms: { name?: string; days?: number; keyType?: KeyType }): Promise<void> {
    const { settings } = this;
    const keyType = checkedKeyType(terms.keyType ?? settings.keyType);
    const key = await makeKey(keyType);
    const given = terms.name ?? settings.name;
    const name = given === '' ? usualAuthorityName(key) : given;
    const subject: SubjectPart[] = [{ type: 'CN', value: checkedCommonName(name) }];
    this.replaceAuthority({ chain: [await this.selfSigned(subject, key, terms.days ?? settings.days)], key });
    this.log.information('authority.created', 'A certificate authority was created.', {
      folder: this.folder,
      subject: name,
      sha256: this.describe().sha256,
    });
  }

  private async selfSigned(
    subject: CertificateTerms['subject'],
    key: KeyObject,
    days: number,
    basicConstraints?: Buffer,
  ): Promise<X509Certificate> {
    const notBeforeMs = this.clock.nowMs() - BACKDATE_MS;
    const notAfterMs = this.clock.nowMs() + checkedDays(days) * DAY_MS;
    const publicKey = createPublicKey(key);
    const terms = { subject, publicKey, purpose: 'authority' as const, names: [], notBeforeMs, notAfterMs, crlUrl: '' };
    return new X509Certificate(await makeCertificate({ ...terms, basicConstraints }, { certificate: undefined, key }));
  }

  private replaceAuthority(pair: CertificateAndKey): void {
    const sameKey = this.pair !== undefined && this.pair.chain[0]!.publicKey.equals(pair.chain[0]!.publicKey);
    if (!sameKey) {
      this.files.keep([INDEX, CRL], this.clock.nowMs());
      this.files.remove(CRL);
      this.crl = undefined;
    }
    const kept = this.files.writePair('ca', pair, this.clock.nowMs());
    this.pair = pair;
    if (kept !== undefined)
      this.log.warning('authority.replaced', 'The authority was replaced; the one before is kept.', { kept });
  }

  private signer(): Signer & { certificate: X509Certificate } {
    const cannot = this.cannotIssue();
    if (cannot !== undefined) throw authorityFault('CA_NO_KEY', cannot);
    return { certificate: this.pair!.chain[0]!, key: this.pair!.key! };
  }

  private cannotIssue(): string | undefined {
    const [certificate] = this.authority();
    if (this.pair?.key === undefined)
      return `no certificates are issued: the private key of the authority is not here (${this.files.path('ca.key')})`;
    const fault = signingKeyFault(this.pair.key);
    if (fault !== undefined) return `no certificates are issued: ${fault}`;
    const { notAfterMs } = certificateFields(certificate!.raw);
    if (notAfterMs < this.clock.nowMs())
      return `no certificates are issued: the authority has expired on ${iso(notAfterMs).slice(0, 10)}`;
    return undefined;
  }

  private async certify(terms: {
    readonly subject: CertificateTerms['subject'];
    readonly publicKey: KeyObject;
    readonly purpose: 'client' | 'server';
    readonly names: CertificateTerms['names'];
    readonly days: number | undefined;
    readonly key: KeyObject | undefined;
    readonly notGranted: readonly string[];
    readonly renews?: string;
  }): Promise<Issued> {
    const {
      days = terms.purpose === 'client' ? this.settings.clientDays : this.settings.serverDays,
      renews,
      key,
    } = terms;
    const { certificate, shortened } = await this.certificateFor(terms, days, this.signer());
    const made = this.describeEntry(certificate, terms.purpose, 'issued');
    const entry: ListedCertificate = renews === undefined ? made : { ...made, renews };
    this.write(entry, certificate);
    this.log.information('authority.issued', 'A certificate was issued.', {
      certificate: entry.id,
      subject: entry.subject,
      until: entry.notAfter,
    });
    const notGranted = shortened ? [...terms.notGranted, `${days} days: it ends with the authority`] : terms.notGranted;
    return { entry, chain: this.withIssuers(certificate), key, notGranted };
  }

  /** Ends no later than its issuer. */
  private async certificateFor(
    terms: Pick<CertificateTerms, 'subject' | 'publicKey' | 'purpose' | 'names'>,
    days: number,
    signer: Signer,
  ): Promise<{ certificate: X509Certificate; shortened: boolean }> {
    const nowMs = this.clock.nowMs();
    const issuer = signer.certificate === undefined ? undefined : certificateFields(signer.certificate.raw);
    const wantedMs = nowMs + checkedDays(days) * DAY_MS;
    const notAfterMs = Math.min(wantedMs, issuer?.notAfterMs ?? wantedMs);
    const notBeforeMs = Math.max(nowMs - BACKDATE_MS, issuer?.notBeforeMs ?? 0);
    const crlUrl = signer.certificate === undefined ? '' : this.settings.crlUrl;
    const der = await makeCertificate({ ...terms, notBeforeMs, notAfterMs, crlUrl }, signer);
    return { certificate: new X509Certificate(der), shortened: notAfterMs < wantedMs };
  }

  private withIssuers(certificate: X509Certificate): X509Certificate[] {
    return [certificate, ...this.authority().filter((issuer) => !isSelfSigned(issuer))];
  }

  private describeEntry(
    certificate: X509Certificate,
    purpose: 'client' | 'server',
    origin: 'issued' | 'added',
  ): ListedCertificate {
    const { subject, issuer, commonName, serialNumber, thumbprint, notAfterMs } = describeCertificate(
      certificate.raw,
      true,
    )!;
    const [authority] = this.authority();
    const ours = certificate.checkIssued(authority!) && certificate.verify(authority!.publicKey);
    return {
      id: certificateId(thumbprint),
      purpose,
      origin,
      state: 'authorized',
      serialNumber,
      issuer,
      subject,
      ...(commonName === undefined ? {} : { commonName }),
      thumbprint,
      notBefore: iso(certificateFields(certificate.raw).notBeforeMs),
      notAfter: iso(notAfterMs),
      ...(ours ? { authority: publicKeyThumbprint(authority!.publicKey) } : {}),
      addedAt: iso(this.clock.nowMs()),
    };
  }

  // ---- renewing, under the lock ----

  private async maintainLocked(): Promise<void> {
    const nowMs = this.clock.nowMs();
    const { log, pair } = this;
    const [authority] = this.authority();
    const authorityEndsMs = certificateFields(authority!.raw).notAfterMs;
    if (authorityEndsMs - nowMs < AUTHORITY_EXPIRES_SOON_MS)
      log.warning('authority.expires', 'The certificate authority expires; dunlin ca renew --authority renews it.', {
        notAfter: iso(authorityEndsMs),
      });
    const record = this.list.data.server;
    const due = needsServerCertificate({
      certificate: this.server?.chain[0],
      hasKey: this.server?.key !== undefined,
      record,
      configuredNames: this.settings.serverNames,
      authority: authority!,
      canIssue: this.cannotIssue() === undefined,
      nowMs,
    });
    if (due !== undefined) {
      const { origin, names } = record ?? { origin: 'automatic' as const, names: [] };
      if (origin === 'imported')
        log.warning('authority.server-expires', `The server certificate was imported and is not renewed here: ${due}.`);
      else {
        // The same key: programs that know the server by its key go on knowing it.
        await this.makeServer({ origin, names }, this.server?.key ?? (await makeKey(this.settings.keyType)), undefined);
        log.information('authority.server-renewed', `A server certificate was made: ${due}.`);
      }
    }
    if (pair?.key !== undefined && this.cannotIssue() === undefined && this.crlIsDue(nowMs))
      await this.writeCrl(this.list);
  }

  private crlIsDue(nowMs: number): boolean {
    if (this.crl === undefined) return true;
    const { number, thisUpdateMs, nextUpdateMs } = this.crl;
    return number !== this.list.data.crlNumber || nowMs > (thisUpdateMs + nextUpdateMs) / 2 || nowMs < thisUpdateMs;
  }

  /**
   * Writes the changed list, then the revocation list that follows from it, with the number that the first announces: after a
   * crash between the two, maintenance makes the second. Without the authority's key there is none.
   */
  private async writeCrl(changed: CertificateList): Promise<void> {
    if (this.cannotIssue() !== undefined) {
      if (changed !== this.list) this.writeList(changed);
      return;
    }
    const { certificate, key } = this.signer();
    const nowMs = this.clock.nowMs();
    const number = this.list.data.crlNumber + 1;
    this.writeList(changed.replace({ crlNumber: number }));
    const nextUpdateMs = nowMs + checkedDays(this.settings.crlDays) * DAY_MS;
    const der = await makeRevocationList(
      { certificate, key },
      number,
      nowMs,
      nextUpdateMs,
      this.revokedHere(certificate),
    );
    this.files.write(CRL, toPem('X509 CRL', der), 'public');
    this.crl = readOwnRevocationList(der, certificate);
  }

  private revokedHere(certificate: X509Certificate) {
    const authority = publicKeyThumbprint(certificate.publicKey);
    const name = nameKey(this.describe().subject);
    const forgottenMs = this.clock.nowMs() - REMEMBERED_AFTER_EXPIRY_MS;
    const entries = this.list.data.certificates.filter(
      (entry) =>
        entry.state === 'revoked' &&
        (entry.authority === authority ||
          (entry.authority === undefined && entry.thumbprint === undefined && nameKey(entry.issuer) === name)) &&
        (entry.notAfter === undefined || Date.parse(entry.notAfter) > forgottenMs),
    );
    const bySerial = new Map(entries.map((entry) => [entry.serialNumber, entry]));
    return [...bySerial.values()].map(({ serialNumber, revokedAt, reason = 'unspecified' }) => ({
      serialNumber,
      revokedAtMs: Date.parse(revokedAt ?? '') || this.clock.nowMs(),
      reason,
    }));
  }

  private async makeServer(
    record: { origin: 'automatic' | 'created'; names: readonly string[] },
    key: KeyObject,
    days = this.settings.serverDays,
  ): Promise<void> {
    const names =
      record.origin === 'created'
        ? readServerNames(record.names)
        : machineNames([...this.settings.serverNames, ...record.names]);
    const signed = this.cannotIssue() === undefined;
    const signer: Signer = signed ? this.signer() : { certificate: undefined, key };
    const terms = { subject: serverSubject(names), publicKey: createPublicKey(key), purpose: 'server' as const, names };
    const { certificate } = await this.certificateFor(terms, days, signer);
    if (signed) this.write(this.describeEntry(certificate, 'server', 'issued'), certificate);
    this.replaceServer({ chain: signed ? this.withIssuers(certificate) : [certificate], key }, record);
  }

  /** After a crash between the two, maintenance looks at the certificate again. */
  private replaceServer(pair: CertificateAndKey, record: ServerRecord): void {
    this.files.writePair('server', pair, this.clock.nowMs());
    this.server = pair;
    this.writeList(this.list.replace({ server: record }));
  }
}

const iso = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z');
const plainThumbprint = (fingerprint: string) => fingerprint.replaceAll(':', '').toLowerCase();

const digestOf = (text: Buffer | string) => createHash('sha256').update(text).digest('hex');
const thumbprintOf = (pair: CertificateAndKey | undefined) => pair?.chain[0]?.fingerprint256;

function missing(folder: string): Fault {
  return authorityFault('CA_MISSING', `${folder} holds no certificate authority; dunlin ca init makes one`);
}

function mentionEntry({ id, commonName, serialNumber }: ListedCertificate): string {
  return `certificate ${id} (${commonName ?? `serial number ${serialNumber}`})`;
}

function listedAgain({ removedAt, ...entry }: ListedCertificate): ListedCertificate {
  return entry;
}

function clientSubject(commonName: string, organization: string | undefined): readonly SubjectPart[] {
  return checkedSubject([
    ...(organization === undefined ? [] : [{ type: 'O' as const, value: organization }]),
    { type: 'CN', value: commonName },
  ]);
}
