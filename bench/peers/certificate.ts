// One certificate for all brokers of a run, made with openssl, gone with the process.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Paths of PEM files. */
export interface CertificateFiles {
  certificate: string;
  key: string;
}

let made: CertificateFiles | undefined;

/** Throws when openssl is not installed. */
export function benchCertificate(): CertificateFiles {
  if (made !== undefined) return made;
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-bench-tls-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const files = { certificate: join(folder, 'broker.crt'), key: join(folder, 'broker.key') };
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const { status, stderr, error } = spawnSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject]
      .concat(['-out', files.certificate])
      .concat(['-keyout', files.key]),
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`openssl made no certificate: ${error?.message ?? stderr.trim()}`);
  made = files;
  return files;
}
