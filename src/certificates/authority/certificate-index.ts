/**
 * The list of certificates as the folder has it: `index.json`, and `clients/<id>.pem` for each certificate that is known whole.
 * Entries are made here, and come on the list from elsewhere here; what they say is `certificate-list`'s.
 */
import { createHash, type X509Certificate } from 'node:crypto';
import { certificateFields } from '../certificate-fields.js';
import { describeCertificate } from '../client-certificate.js';
import type { AuthorityContext } from './authority-context.js';
import { authorityFault } from './authority-fault.js';
import { INDEX_FILE } from './authority-files.js';
import type { AuthorityPair } from './authority-pair.js';
import {
  CertificateList,
  certificateId,
  formatList,
  identityId,
  isoTime,
  type ListedCertificate,
  parseList,
} from './certificate-list.js';
import { readCertificates } from './certificate-text.js';
import { publicKeyThumbprint } from './keys.js';
import { nameKey } from './names.js';

const CERTIFICATES_MAX = 200_000;

export class CertificateIndex {
  private current: CertificateList = CertificateList.empty;
  /** SHA-256 of the file that `current` was read from; empty when there was none. */
  private digest = '';

  constructor(
    private readonly context: AuthorityContext,
    private readonly authority: AuthorityPair,
  ) {}

  get list(): CertificateList {
    return this.current;
  }

  read(): void {
    const { files } = this.context;
    const text = files.read(INDEX_FILE);
    const digest = text === undefined ? '' : digestOf(text);
    if (digest === this.digest) return;
    this.current =
      text === undefined ? CertificateList.empty : parseList(text.toString('utf8'), files.path(INDEX_FILE));
    this.digest = digest;
  }

  write(list: CertificateList): void {
    if (list.data.certificates.length > CERTIFICATES_MAX)
      throw authorityFault('CA_INPUT', `the list is full: it holds at most ${CERTIFICATES_MAX} certificates`);
    const text = formatList(list.data);
    this.context.files.writeKeepingPrevious(INDEX_FILE, text, 'private');
    this.current = list;
    this.digest = digestOf(text);
  }

  /** Adds the entry, or changes the one with its id. */
  writeEntry(entry: ListedCertificate, certificate?: X509Certificate): void {
    if (certificate !== undefined) this.context.files.write(certificateFile(entry), certificate.toString(), 'public');
    this.write(this.current.with(entry));
  }

  /** Undefined when only its serial number and issuer are known. */
  certificateOf(entry: ListedCertificate): X509Certificate | undefined {
    const { files } = this.context;
    const file = certificateFile(entry);
    const pem = files.read(file);
    return pem === undefined ? undefined : readCertificates(pem, files.path(file))[0];
  }

  /** The certificate leaves the folder, but for a copy; its entry is the caller's to take off the list. */
  removeCertificateOf(entry: ListedCertificate): void {
    const { files, clock } = this.context;
    const file = certificateFile(entry);
    files.keep([file], clock.nowMs());
    files.remove(file);
  }

  entryFor(certificate: X509Certificate, purpose: 'client' | 'server', origin: 'issued' | 'added'): ListedCertificate {
    const { subject, issuer, commonName, serialNumber, thumbprint, notAfterMs } = describeCertificate(
      certificate.raw,
      true,
    )!;
    const authority = this.authority.certificate;
    const ours = certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
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
      notBefore: isoTime(certificateFields(certificate.raw).notBeforeMs),
      notAfter: isoTime(notAfterMs),
      ...(ours ? { authority: publicKeyThumbprint(authority.publicKey) } : {}),
      addedAt: isoTime(this.context.clock.nowMs()),
    };
  }

  /** One that is there stays as it is; one that was taken off comes back as it was. */
  add(certificate: X509Certificate): ListedCertificate {
    const described = describeCertificate(certificate.raw, false);
    if (described === undefined) throw authorityFault('CA_INPUT', 'the certificate cannot be read');
    const known = this.current.get(certificateId(described.thumbprint));
    if (known !== undefined && known.removedAt === undefined) return known;
    const entry = known === undefined ? this.entryFor(certificate, 'client', 'added') : listedAgain(known);
    this.writeEntry(entry, certificate);
    return entry;
  }

  /** As `add`, with nothing known but serial number and issuer. */
  addIdentity({ serialNumber, issuer }: { serialNumber: string; issuer: string }): ListedCertificate {
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
    const known = this.current.get(id);
    if (known !== undefined && known.removedAt === undefined) return known;
    const addedAt = isoTime(this.context.clock.nowMs());
    const entry: ListedCertificate =
      known === undefined
        ? { id, purpose: 'client', origin: 'added', state: 'authorized', serialNumber: serial, issuer, addedAt }
        : listedAgain(known);
    this.writeEntry(entry);
    return entry;
  }
}

const digestOf = (text: Buffer | string) => createHash('sha256').update(text).digest('hex');
const certificateFile = ({ id }: ListedCertificate) => `clients/${id}.pem`;

function listedAgain({ removedAt, ...entry }: ListedCertificate): ListedCertificate {
  return entry;
}
