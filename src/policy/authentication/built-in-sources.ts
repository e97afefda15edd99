/** Sources that decide by what a connection shows: anonymous, client identifier, address, certificate, pre-shared key. */
import type { Logger } from '../../base/index.js';
import { compileNetworks, compileTexts } from '../authorization/who.js';
import type { CertificateOptions, ListedCertificate, MatchOptions } from '../options.js';
import type { ClientCertificate, ConnectRequest } from '../policy.js';
import { readyStatus, type SourceStatus } from '../sources/guard.js';
import { type AuthenticationSource, type Decision, denied, identityOf, next } from './source.js';
import { mayEnter, type UserStore } from './users.js';

abstract class BuiltInSource implements AuthenticationSource {
  abstract readonly type: string;

  constructor(readonly name: string) {}

  abstract authenticate(request: ConnectRequest): Decision;

  status(): SourceStatus {
    return readyStatus(this.name, this.type);
  }
}

/** Lets clients in that give neither user name nor password, whatever the listener says. */
export class AnonymousSource extends BuiltInSource {
  readonly type = 'anonymous';

  authenticate({ username, password }: ConnectRequest): Decision {
    if (username !== undefined || password !== undefined) return next;
    return { outcome: 'allow', identity: identityOf(this.name, undefined) };
  }
}

/** `deny` refuses, `admit` lets in, `require` refuses what it does not hold; all else goes on. */
export class MatchSource extends BuiltInSource {
  readonly type: 'clientId' | 'ip';
  private readonly admits: (value: string) => boolean;
  private readonly requires: ((value: string) => boolean) | undefined;
  private readonly denies: (value: string) => boolean;

  constructor(options: MatchOptions & { readonly type: 'clientId' | 'ip' }) {
    super(options.name);
    this.type = options.type;
    const compile = (values: readonly string[], tooLong = false) =>
      options.type === 'ip' ? compileNetworks(values) : compileTexts(values, tooLong);
    this.admits = compile(options.admit);
    this.denies = compile(options.deny, true);
    this.requires = options.require.length === 0 ? undefined : compile(options.require);
  }

  authenticate({ clientId, address, username }: ConnectRequest): Decision {
    const [value, what] = this.type === 'ip' ? [address, 'address'] : [clientId, 'client identifier'];
    if (this.denies(value)) return denied(`this ${what} is not allowed`);
    if (this.admits(value)) return { outcome: 'allow', identity: identityOf(this.name, username) };
    if (this.requires !== undefined && !this.requires(value)) return denied(`this ${what} is not allowed`);
    return next;
  }
}

/** What the certificate authority says of a certificate. Revoked wins over everything. */
export type CertificateStanding = 'authorized' | 'revoked' | 'unlisted';
export type FindStanding = (certificate: ClientCertificate) => CertificateStanding;

/** What other programs cut a name at, or what stands for bytes that are no text, so that two names would be one. */
const notOfNames = /[\u0000-\u001f\u007f-\u009f\ufffd\p{Cs}]/u;

/** Lets clients in by the certificate they showed. */
export class CertificateSource extends BuiltInSource {
  readonly type = 'certificate';

  constructor(
    private readonly options: CertificateOptions,
    private readonly users: UserStore,
    private readonly findStanding: FindStanding | undefined,
    private readonly log: Logger,
  ) {
    super(options.name);
  }

  authenticate(request: ConnectRequest): Decision {
    const { certificate, listener } = request;
    if (certificate === undefined) return next;
    const standing = this.findStanding?.(certificate) ?? 'unlisted';
    if (standing === 'revoked') return this.refuse(request, 'the certificate is revoked');
    const listed = this.options.listed.find((entry) => isListed(entry, certificate));
    if (listed !== undefined && (!listed.enabled || !allows(listed.listeners, listener)))
      return this.refuse(request, 'the certificate is disabled here');
    if (this.options.onlyListed && listed === undefined && standing !== 'authorized')
      return this.refuse(request, 'the certificate is not listed');
    // Anyone can write a serial number and an issuer into a certificate.
    if (!certificate.trusted && listed?.thumbprint === undefined && standing !== 'authorized')
      return this.refuse(request, 'the certificate is not trusted');
    const username = listed?.username ?? this.nameOf(certificate);
    if (username === undefined || username === '') return this.refuse(request, 'the certificate names no user');
    if (notOfNames.test(username))
      return this.refuse(request, 'the name in the certificate holds control characters or is no UTF-8');
    const attributes = { certificate: certificate.thumbprint };
    const user = this.users.get(username);
    if (user === undefined) {
      if (this.options.mustBeUser) return this.refuse(request, 'the certificate names no user of this broker');
      return { outcome: 'allow', identity: identityOf(this.name, username, { attributes }) };
    }
    if (!mayEnter(user.options, listener)) return this.refuse(request, 'the user of the certificate is disabled here');
    return { outcome: 'allow', identity: { ...user.identity, attributes } };
  }

  private nameOf(certificate: ClientCertificate): string | undefined {
    return certificate[this.options.username];
  }

  /** The reason is for the log: whoever shows a certificate need not know why it does not do. */
  private refuse({ certificate, clientId, listener }: ConnectRequest, reason: string): Decision {
    this.log.warning('certificate.refused', reason, {
      listener,
      clientId,
      subject: certificate!.subject,
      serialNumber: certificate!.serialNumber,
      issuer: certificate!.issuer,
    });
    return denied('the certificate is not accepted');
  }
}

const allows = (listeners: readonly string[], listener: string) =>
  listeners.length === 0 || listeners.includes(listener);

/** By thumbprint, or by serial number and issuer; every property that an entry gives has to fit. */
function isListed({ thumbprint, serialNumber, issuer }: ListedCertificate, certificate: ClientCertificate): boolean {
  if (thumbprint === undefined && serialNumber === undefined) return false;
  if (thumbprint !== undefined && plainHex(thumbprint) !== plainHex(certificate.thumbprint)) return false;
  if (serialNumber !== undefined && plainHex(serialNumber) !== plainHex(certificate.serialNumber)) return false;
  return issuer === undefined || sameName(issuer, certificate.issuer);
}

/** Colons, case and leading zeros are a matter of taste. */
const plainHex = (text: string) =>
  text
    .replace(/[:\s]/g, '')
    .toLowerCase()
    .replace(/^0+(?=.)/, '');

/** Distinguished names, but for the blanks around separators and the case of attribute types. */
export function sameName(a: string, b: string): boolean {
  const [left, right] = [partsOf(a), partsOf(b)];
  const text = left.join(',');
  return text === right.join(',') || text === right.reverse().join(',');
}

/** Cut at commas that no backslash escapes. */
function partsOf(name: string): string[] {
  const parts = name.match(/(?:\\[\s\S]|[^,\\])+/g) ?? [];
  return parts.map((part) =>
    part.trim().replace(/^([A-Za-z0-9.]+)\s*=\s*/, (_, type: string) => `${type.toUpperCase()}=`),
  );
}

/** Lets clients in whose pre-shared key TLS has checked; its identity is the user name. */
export class PskSource extends BuiltInSource {
  readonly type = 'psk';

  constructor(
    { name, mustBeUser }: { readonly name: string; readonly mustBeUser: boolean },
    private readonly users: UserStore,
  ) {
    super(name);
    this.mustBeUser = mustBeUser;
  }

  private readonly mustBeUser: boolean;

  authenticate({ pskIdentity, listener }: ConnectRequest): Decision {
    if (pskIdentity === undefined) return next;
    const user = this.users.get(pskIdentity);
    if (user === undefined)
      return this.mustBeUser
        ? denied('the identity is no user of this broker')
        : { outcome: 'allow', identity: identityOf(this.name, pskIdentity) };
    if (!mayEnter(user.options, listener)) return denied('the identity is disabled here');
    return { outcome: 'allow', identity: { ...user.identity } };
  }
}
