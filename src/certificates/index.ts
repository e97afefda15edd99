export * from './authority/index.js';
export { type DescribedCertificate, describeCertificate } from './client-certificate.js';
export { type KeyMaterial, type KeyMaterialSettings, readCertificates, readKeyMaterial } from './key-material.js';
export { ListenerTls, type ListenerTlsOptions, type TlsSettings } from './listener-tls.js';
export { pskIdentityFault, pskKeyFault } from './psk.js';
export { readTrust } from './trust.js';
