/**
 * The list of certificates: what was issued here, what was added from elsewhere, and whether each is authorized or revoked.
 *
 * Kept as `index.json`, one certificate a line, replaced as a whole. An entry names a certificate by its thumbprint, or, when
 * only that is known, by serial number and issuer.
 *
 * Refuses to guess: an index that cannot be read is a fault, never an empty list.
 */
import { createHash } from 'node:crypto';
import { Fault, quoted } from '../../base/index.js';
import { plainHex } from '../der.js';
import { authorityFault } from './authority-fault.js';
import { nameKey } from './names.js';

export const revocationReasons = [
  'unspecified',
  'keyCompromise',
  'caCompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'certificateHold',
  'privilegeWithdrawn',
] as const;
export type RevocationReason = (typeof revocationReasons)[number];

export interface ListedCertificate {
  /** 16 hexadecimal digits; the same certificate always has the same. */
  readonly id: string;
  readonly purpose: 'client' | 'server';
  /** Issued by this authority, or added from elsewhere. */
  readonly origin: 'issued' | 'added';
  readonly state: 'authorized' | 'revoked';
  /** hexadecimal, upper case, without leading zeros */
  readonly serialNumber: string;
  /** RFC 4514 */
  readonly issuer: string;
  readonly subject?: string;
  readonly commonName?: string;
  /** SHA-256 of the certificate; absent when only serial number and issuer are known. */
  readonly thumbprint?: string;
  /** ISO 8601 */
  readonly notBefore?: string;
  readonly notAfter?: string;
  /** SHA-256 of the public key of the authority that has signed it, when that is this one or was. */
  readonly authority?: string;
  readonly addedAt: string;
  readonly revokedAt?: string;
  readonly reason?: RevocationReason;
  /** Taken off the list; remembered because the revocation list may need it. */
  readonly removedAt?: string;
  /** id of the certificate it takes the place of */
  readonly renews?: string;
}

/** How the server's certificate came to be, which decides who renews it. */
export interface ServerRecord {
  readonly origin: 'automatic' | 'created' | 'imported';
  /** Made on request: its names. Made by itself: those besides the machine's and the configured ones. */
  readonly names: readonly string[];
}

export interface CertificateListData {
  /** Number of the last revocation list. */
  readonly crlNumber: number;
  readonly server: ServerRecord | undefined;
  readonly certificates: readonly ListedCertificate[];
}

const FORMAT = 1;

export class CertificateList {
  private readonly byId = new Map<string, ListedCertificate>();
  private readonly byIdentity = new Map<string, ListedCertificate[]>();

  constructor(readonly data: CertificateListData) {
    for (const entry of data.certificates) {
      this.byId.set(entry.id, entry);
      const key = identityKey(entry.serialNumber, entry.issuer);
      const same = this.byIdentity.get(key);
      if (same === undefined) this.byIdentity.set(key, [entry]);
      else same.push(entry);
    }
  }

  static readonly empty = new CertificateList({ crlNumber: 0, server: undefined, certificates: [] });

  /** Entries that are on the list, not those only remembered. */
  get listed(): ListedCertificate[] {
    return this.data.certificates.filter(({ removedAt }) => removedAt === undefined);
  }

  get(id: string): ListedCertificate | undefined {
    return this.byId.get(id);
  }

  /** The entries that may speak of a certificate: same serial number and issuer, and the same thumbprint where there is one. */
  entriesFor(serialNumber: string, issuer: string, thumbprint: string): ListedCertificate[] {
    return (this.byIdentity.get(identityKey(serialNumber, issuer)) ?? []).filter(
      (entry) => entry.thumbprint === undefined || entry.thumbprint === thumbprint,
    );
  }

  /**
   * The entry that `reference` means: id, serial number, thumbprint (SHA-256, or at least 8 digits of its beginning), or a common
   * name only one entry has.
   * Errors  `Fault` CA_UNKNOWN.
   */
  find(reference: string): ListedCertificate {
    const found = this.findAll(reference);
    if (found.length === 1) return found[0]!;
    const ids = found
      .slice(0, 10)
      .map(({ id, notAfter }) => `${id}${notAfter === undefined ? '' : ` (until ${notAfter.slice(0, 10)})`}`);
    throw authorityFault(
      'CA_UNKNOWN',
      `${quoted(reference)} is ${found.length} certificates: name one by its id: ${ids.join(', ')}`,
    );
  }

  /** At least one, the oldest first. Errors: `Fault` CA_UNKNOWN. */
  findAll(reference: string): ListedCertificate[] {
    const hex = /^[0-9a-fA-F: ]+$/.test(reference) ? reference.replace(/[: ]/g, '').toLowerCase() : undefined;
    const { listed } = this;
    const exact = hex === undefined ? [] : listed.filter(({ id, thumbprint }) => id === hex || thumbprint === hex);
    const numbered = hex === undefined ? [] : listed.filter(({ serialNumber }) => serialNumber === plainHex(hex));
    const named = listed.filter(({ commonName }) => commonName === reference);
    const begun =
      hex === undefined || hex.length < 8 ? [] : listed.filter(({ thumbprint }) => thumbprint?.startsWith(hex));
    const found = [exact, numbered, named, begun].find((entries) => entries.length > 0);
    if (found !== undefined) return found;
    throw authorityFault(
      'CA_UNKNOWN',
      `no certificate on the list has the id, serial number, thumbprint or name ${quoted(reference)}`,
    );
  }

  /** With an entry added, or changed when its id is there. */
  with(entry: ListedCertificate): CertificateList {
    const { certificates } = this.data;
    const at = certificates.findIndex(({ id }) => id === entry.id);
    return this.replace({ certificates: at < 0 ? [...certificates, entry] : certificates.with(at, entry) });
  }

  without(id: string): CertificateList {
    return this.replace({ certificates: this.data.certificates.filter((entry) => entry.id !== id) });
  }

  replace(change: Partial<CertificateListData>): CertificateList {
    return new CertificateList({ ...this.data, ...change });
  }
}

/** Times as entries have them. */
export const isoTime = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z');

export function mentionEntry({ id, commonName, serialNumber }: ListedCertificate): string {
  return `certificate ${id} (${commonName ?? `serial number ${serialNumber}`})`;
}

export function certificateId(thumbprint: string): string {
  return thumbprint.slice(0, 16);
}

export function identityId(serialNumber: string, issuer: string): string {
  return createHash('sha256').update(identityKey(serialNumber, issuer)).digest('hex').slice(0, 16);
}

function identityKey(serialNumber: string, issuer: string): string {
  return `${serialNumber} ${issuerKey(issuer)}`;
}

const ISSUER_KEYS_MAX = 1000;
/** Longer names are of no real issuer; anybody can show one. */
const ISSUER_KEPT_LENGTH_MAX = 1024;
const issuerKeys = new Map<string, string>();

/** Lists hold few issuers, thousands of times each. */
function issuerKey(issuer: string): string {
  let key = issuerKeys.get(issuer);
  if (key === undefined) {
    if (issuerKeys.size >= ISSUER_KEYS_MAX) issuerKeys.clear();
    key = nameKey(issuer) ?? issuer;
    if (issuer.length <= ISSUER_KEPT_LENGTH_MAX) issuerKeys.set(issuer, key);
  }
  return key;
}

export function formatList({ crlNumber, server, certificates }: CertificateListData): string {
  const lines = certificates.map((entry) => `    ${JSON.stringify(entry)}`).join(',\n');
  return [
    '{',
    `  "format": ${FORMAT},`,
    `  "crlNumber": ${crlNumber},`,
    ...(server === undefined ? [] : [`  "server": ${JSON.stringify(server)},`]),
    `  "certificates": [${lines === '' ? '' : `\n${lines}\n  `}]`,
    '}',
    '',
  ].join('\n');
}

/** Errors: `Fault` CA_DAMAGED naming the file and what is wrong in it. */
export function parseList(text: string, file: string): CertificateList {
  const damaged = (what: string, cause?: unknown) =>
    authorityFault('CA_DAMAGED', `${file} ${what}; a copy of an earlier state is ${file}.previous`, cause);
  try {
    const parsed = JSON.parse(text) as {
      format?: unknown;
      crlNumber?: unknown;
      server?: ServerRecord;
      certificates?: unknown;
    };
    if (typeof parsed !== 'object' || parsed === null) throw damaged('is no index of certificates');
    if (typeof parsed.format === 'number' && parsed.format > FORMAT)
      throw authorityFault(
        'CA_DAMAGED',
        `${file} has format ${parsed.format}, made by a newer Dunlin; this one knows ${FORMAT}`,
      );
    if (parsed.format !== FORMAT || !Number.isSafeInteger(parsed.crlNumber) || !Array.isArray(parsed.certificates))
      throw damaged('is no index of certificates');
    const certificates = parsed.certificates as ListedCertificate[];
    const wrong = certificates.findIndex((entry) => !isEntry(entry));
    if (wrong >= 0) throw damaged(`has an entry that is none: certificates[${wrong}]`);
    return new CertificateList({ crlNumber: parsed.crlNumber as number, server: parsed.server, certificates });
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw damaged('cannot be read as JSON', error);
  }
}

function isEntry(entry: unknown): entry is ListedCertificate {
  if (typeof entry !== 'object' || entry === null) return false;
  const { id, purpose, origin, state, serialNumber, issuer, thumbprint } = entry as Record<string, unknown>;
  return (
    typeof id === 'string' &&
    (purpose === 'client' || purpose === 'server') &&
    (origin === 'issued' || origin === 'added') &&
    (state === 'authorized' || state === 'revoked') &&
    typeof serialNumber === 'string' &&
    typeof issuer === 'string' &&
    (thumbprint === undefined || typeof thumbprint === 'string')
  );
}
