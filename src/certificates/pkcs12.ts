/**
 * The entries of a PKCS#12 file by name. The library wants a name on everything and joins by it, but OpenSSL names only the
 * certificate that belongs to the key: so each part is taken by itself, under a name of its own.
 */
import { createRequire } from 'node:module';

interface Bag {
  readonly attributes: { friendlyName?: string[] };
}
interface Parser {
  parse(): Bag[];
  toPem(bags: readonly Bag[]): Record<string, { cert?: string; ca?: string; key?: string }>;
}

type ParserConstructor = new (bytes: Buffer, password: string) => Parser;
/** Loaded with the first keystore: few brokers have one. */
const require = createRequire(import.meta.url);

export interface Pkcs12Entry {
  readonly cert?: string;
  readonly ca?: string;
  readonly key?: string;
}

/** Certificates stand with the key of their name, or by themselves. Errors: whatever the library says. */
export function readPkcs12(bytes: Buffer, password: string): Record<string, Pkcs12Entry> {
  const Pkcs12Parser = require('jks-js/lib/keystore/PKCS12Parser.js') as ParserConstructor;
  const parser = new Pkcs12Parser(bytes, password);
  const keys: [string, string][] = [];
  const certificates: string[] = [];
  for (const bag of parser.parse()) {
    const name = bag.attributes.friendlyName?.[0] ?? '';
    bag.attributes.friendlyName = ['one'];
    const { cert, ca, key } = parser.toPem([bag]).one ?? {};
    const taken = name === '' || keys.some(([known]) => known === name);
    if (key !== undefined) keys.push([taken ? `key ${keys.length + 1}` : name, key]);
    const certificate = cert ?? ca;
    if (certificate !== undefined) certificates.push(certificate);
  }
  if (keys.length === 0)
    return Object.fromEntries(certificates.map((ca, index) => [`certificate ${index + 1}`, { ca }]));
  // Which certificate goes with which key is seen from the keys themselves.
  const cert = certificates.join('\n');
  return Object.fromEntries(keys.map(([name, key]) => [name, certificates.length === 0 ? { key } : { key, cert }]));
}
