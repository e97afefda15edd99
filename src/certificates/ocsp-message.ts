/** OCSP requests and responses (RFC 6960), as far as the status of one certificate goes. */
import { createHash, X509Certificate } from 'node:crypto';
import { certificateFields, extensionOf } from './certificate-fields.js';
import {
  children,
  type DerElement,
  DerError,
  DerTag,
  derTime,
  derValue,
  derWhole,
  expectDer,
  objectIdentifier,
  readDer,
} from './der.js';
import { signatureHolds } from './signature.js';

export type CertificateStatus = 'good' | 'revoked' | 'unknown';

export interface OcspAnswer {
  readonly status: CertificateStatus;
  /** From then on the answer is old; undefined when it says nothing about that. */
  readonly nextUpdateMs: number | undefined;
}

/** id-kp-OCSPSigning and the extensions looked at. */
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const AUTHORITY_INFORMATION = '1.3.6.1.5.5.7.1.1';
const OCSP_ACCESS = '1.3.6.1.5.5.7.48.1';
/** AlgorithmIdentifier of SHA-1, which names certificates here; it protects nothing. */
const sha1Identifier = Buffer.from('300906052b0e03021a0500', 'hex');
/** How far a responder's clock may be ahead of ours. */
const CLOCK_SKEW_MS = 300_000;
/** An answer without nextUpdate is believed so long. */
const UNDATED_MS_MAX = 86_400_000;

/** Names `certificate` by its issuer and serial number. */
function certificateId(certificate: Buffer, issuer: Buffer): Buffer {
  const fields = certificateFields(certificate);
  const issuerFields = certificateFields(issuer);
  const [, keyBits] = [...children(issuer, issuerFields.publicKey)];
  if (keyBits === undefined) throw new DerError('the issuer has no key');
  const sha1 = (bytes: Buffer) => createHash('sha1').update(bytes).digest();
  return sequence(
    sha1Identifier,
    element(DerTag.octetString, sha1(derWhole(certificate, fields.issuer))),
    element(DerTag.octetString, sha1(derValue(issuer, keyBits).subarray(1))),
    derWhole(certificate, fields.serialNumber),
  );
}

export function ocspRequest(certificate: Buffer, issuer: Buffer): Buffer {
  return sequence(sequence(sequence(sequence(certificateId(certificate, issuer)))));
}

/** The first http: address of a responder that the certificate names. */
export function responderUrl(certificate: Buffer): string | undefined {
  const value = extensionOf(certificate, certificateFields(certificate), AUTHORITY_INFORMATION);
  if (value === undefined) return undefined;
  for (const description of children(value, readDer(value, 0, value.length))) {
    const [method, location] = [...children(value, description)];
    if (method === undefined || location?.tag !== 0x86) continue; // uniformResourceIdentifier [6]
    if (objectIdentifier(derValue(value, method)) !== OCSP_ACCESS) continue;
    const url = derValue(value, location).toString('latin1');
    if (/^https?:\/\//i.test(url)) return url;
  }
  return undefined;
}

/** Reads, verifies and judges a response. Errors: DerError for what cannot be read or believed. */
export function readOcspResponse(
  response: Buffer,
  certificate: Buffer,
  issuer: X509Certificate,
  nowMs: number,
): OcspAnswer {
  const whole = expectDer(response, 0, response.length, DerTag.sequence);
  const [status, wrapped] = [...children(response, whole)];
  const code = status === undefined ? -1 : (derValue(response, status)[0] ?? -1);
  if (code !== 0 || wrapped === undefined) throw new DerError(`the responder answered with error ${code}`);
  const [, octets] = [...children(response, readDer(response, wrapped.valueStart, wrapped.end))];
  if (octets === undefined) throw new DerError('the response is empty');
  const basic = derValue(response, octets);
  const [data, algorithm, signature, certificates] = [
    ...children(basic, expectDer(basic, 0, basic.length, DerTag.sequence)),
  ];
  if (data === undefined || algorithm === undefined || signature === undefined) throw new DerError('it is not signed');
  const identifier = objectIdentifier(derValue(basic, readDer(basic, algorithm.valueStart, algorithm.end)));
  const bits = derValue(basic, signature).subarray(1);
  const signers = [issuer, ...delegates(basic, certificates, issuer, nowMs)];
  if (!signers.some(({ publicKey }) => signatureHolds(identifier, derWhole(basic, data), publicKey, bits)))
    throw new DerError('it is not signed by the issuer or a responder that it named');
  const wanted = certificateId(certificate, issuer.raw);
  for (const single of singleResponses(basic, data)) {
    const [id, state, thisUpdate, ...rest] = [...children(basic, single)];
    if (id === undefined || state === undefined || thisUpdate === undefined) continue;
    if (!sameCertificate(derWhole(basic, id), wanted)) continue;
    const next = rest.find(({ tag }) => tag === 0xa0);
    const nextUpdateMs = next === undefined ? undefined : derTime(basic, readDer(basic, next.valueStart, next.end));
    const thisUpdateMs = derTime(basic, thisUpdate);
    if (thisUpdateMs > nowMs + CLOCK_SKEW_MS) throw new DerError('it comes from the future');
    if ((nextUpdateMs ?? thisUpdateMs + UNDATED_MS_MAX) < nowMs - CLOCK_SKEW_MS)
      throw new DerError('it is out of date');
    const kind = state.tag & 0x1f;
    return { status: kind === 0 ? 'good' : kind === 1 ? 'revoked' : 'unknown', nextUpdateMs };
  }
  throw new DerError('it speaks of another certificate');
}

function* singleResponses(basic: Buffer, data: DerElement): Generator<DerElement> {
  // version [0], responderID [1] or [2], producedAt, responses
  const fields = [...children(basic, data)].filter(({ tag }) => tag === DerTag.sequence);
  if (fields[0] !== undefined) yield* children(basic, fields[0]);
}

/** Responses may leave out the NULL of the digest's parameters. */
function sameCertificate(id: Buffer, wanted: Buffer): boolean {
  const parts = (bytes: Buffer) =>
    [...children(bytes, readDer(bytes, 0, bytes.length))].slice(1).map((part) => derValue(bytes, part).toString('hex'));
  const sha1Oid = sha1Identifier.subarray(2, 9);
  return id.includes(sha1Oid) && parts(id).join() === parts(wanted).join();
}

/** Certificates in the response that the issuer made for responders, and that are valid now. */
function delegates(
  basic: Buffer,
  wrapped: DerElement | undefined,
  issuer: X509Certificate,
  nowMs: number,
): X509Certificate[] {
  if (wrapped === undefined) return [];
  const found: X509Certificate[] = [];
  for (const entry of children(basic, readDer(basic, wrapped.valueStart, wrapped.end))) {
    const der = Buffer.from(derWhole(basic, entry));
    const fields = certificateFields(der);
    const usage = extensionOf(der, fields, EXTENDED_KEY_USAGE);
    if (usage === undefined || nowMs < fields.notBeforeMs || nowMs > fields.notAfterMs) continue;
    const purposes = [...children(usage, readDer(usage, 0, usage.length))].map((part) =>
      objectIdentifier(derValue(usage, part)),
    );
    const candidate = new X509Certificate(der);
    if (purposes.includes(OCSP_SIGNING) && candidate.checkIssued(issuer) && candidate.verify(issuer.publicKey))
      found.push(candidate);
  }
  return found;
}

function element(tag: number, ...values: Buffer[]): Buffer {
  const value = Buffer.concat(values);
  const { length } = value;
  const header =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(header), value]);
}

const sequence = (...values: Buffer[]) => element(DerTag.sequence, ...values);
