/** PEM (RFC 7468): the blocks of a file by their label. */
export interface PemBlock {
  readonly label: string;
  /** from BEGIN to END, as OpenSSL takes it */
  readonly text: string;
  readonly der: Buffer;
  /** A private key that needs a password, in either of the two forms. */
  readonly encrypted: boolean;
}

const block = /-----BEGIN ([A-Z0-9 ]+)-----\r?\n([\s\S]*?)-----END \1-----/g;

export function pemBlocks(bytes: Buffer): PemBlock[] {
  const blocks: PemBlock[] = [];
  for (const [text, label = '', body = ''] of bytes.toString('latin1').matchAll(block))
    blocks.push({
      label,
      text: `${text}\n`,
      der: Buffer.from(body.replace(/^[A-Za-z-]+:.*$/gm, ''), 'base64'),
      encrypted: label === 'ENCRYPTED PRIVATE KEY' || /^Proc-Type: 4,ENCRYPTED/m.test(body),
    });
  return blocks;
}

export function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

export const isCertificateLabel = (label: string) =>
  label === 'CERTIFICATE' || label === 'X509 CERTIFICATE' || label === 'TRUSTED CERTIFICATE';
export const isKeyLabel = (label: string) => label.endsWith('PRIVATE KEY');

/** What a file without the PEM that was wanted seems to be, as an ending for a sentence. */
export function whatItSeems(bytes: Buffer): string {
  const labels = [...new Set(pemBlocks(bytes).map(({ label }) => label))];
  if (labels.length > 0) return `; it holds: ${labels.join(', ')}`;
  if (bytes.length === 0) return '; it is empty';
  if (bytes[0] === 0x30) return '; it looks like DER or PKCS#12, PEM is needed (openssl x509 -inform der, or keystore)';
  if (bytes.length >= 4 && bytes.readUInt32BE(0) === 0xfeedfeed) return '; it is a Java keystore: give it as keystore';
  return '';
}
