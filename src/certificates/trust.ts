/** The authorities that client certificates are checked against. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as tls from 'node:tls';
import { filesOf, tlsFault } from './files.js';
import { readCertificates } from './key-material.js';
import { isCertificateLabel, pemBlocks } from './pem.js';

export interface Trust {
  readonly authorities: readonly X509Certificate[];
  /** For `node:tls`. */
  readonly pem: readonly string[];
  readonly files: readonly string[];
}

/** Where Unix systems keep theirs in one file. */
const systemBundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** `where` is the path of the group of settings, `setting` the one in it that names the files. Errors: `Fault`. */
export function readTrust(paths: readonly string[], withSystem: boolean, where: string, setting = 'clientCa'): Trust {
  const files = paths.flatMap((path, index) => filesOf(path, `${where}.${setting}[${index}]`));
  const authorities = files.flatMap((file) => readCertificates(file, `${where}.${setting}`));
  if (withSystem) authorities.push(...systemAuthorities(where));
  return { authorities, pem: authorities.map((certificate) => certificate.toString()), files: [...paths, ...files] };
}

function systemAuthorities(where: string): X509Certificate[] {
  // Node 22.15 and later
  const listed = (tls as { getCACertificates?: (type: 'system') => string[] }).getCACertificates?.('system') ?? [];
  if (listed.length > 0) return listed.map((pem) => new X509Certificate(pem));
  for (const bundle of systemBundles) {
    try {
      return pemBlocks(readFileSync(bundle))
        .filter(({ label }) => isCertificateLabel(label))
        .map(({ der }) => new X509Certificate(der));
    } catch {
      // the next system's place
    }
  }
  throw tlsFault(
    `${where}.trustSystemStore: this Node cannot list the certificates of the system (22.15 can), and there is none of ${systemBundles.join(', ')}`,
  );
}
