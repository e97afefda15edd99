export type { AuthorityDescription } from './authority-pair.js';
export { type AuthorityHost, CertificateAuthority } from './certificate-authority.js';
export { type ListedCertificate, type RevocationReason, revocationReasons } from './certificate-list.js';
export { findPrivateKey, readCertificates as readCertificatesFrom } from './certificate-text.js';
export { type BundleContents, bundleFileNames, bundleFiles, fileNameFor, makeBundle } from './client-bundle.js';
export type { AcceptanceOptions, Decision } from './decide.js';
export type { AuthorityChange } from './folder-changes.js';
export type { Issued, IssueTerms, SignTerms } from './issuance.js';
export { privateKeyPem } from './keys.js';
export { listenerHooks, withAuthority } from './listener-terms.js';
export { readServerName } from './names.js';
export {
  type AuthoritySettings,
  CERTIFICATE_DAYS_MAX,
  type KeyType,
  keyTypes,
  usualAuthoritySettings,
} from './options.js';
export { makePkcs12, pkcs12PasswordFault } from './pkcs12.js';
export type { ServerCertificate } from './server-certificate.js';
