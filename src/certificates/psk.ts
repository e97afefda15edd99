/**
 * Pre-shared keys by identity: from settings, and from a file with `identity:hexkey` lines as Mosquitto has it.
 */
import { readNamed, tlsFault } from './files.js';

export interface PskSettings {
  readonly identities: readonly { readonly identity: string; readonly key: string }[];
  readonly file?: string;
}

/** OpenSSL takes no more: PSK_MAX_PSK_LEN and PSK_MAX_IDENTITY_LEN. */
const KEY_BYTES_MAX = 256;
const IDENTITY_BYTES_MAX = 128;

/** `where` is the path of the group of settings. Errors: `Fault` naming file and line, never the key. */
export function readPreSharedKeys({ identities, file }: PskSettings, where: string): Map<string, Buffer> {
  const keys = new Map<string, Buffer>();
  for (const [index, { identity, key }] of identities.entries())
    add(keys, identity, key, `${where}.identities[${index}]`);
  if (file !== undefined) {
    const lines = readNamed(file, `${where}.file`).toString('utf8').split(/\r?\n/);
    lines.forEach((line, index) => {
      if (line.trim() === '' || line.startsWith('#')) return;
      const place = `${where}.file: ${file}, line ${index + 1}`;
      const colon = line.lastIndexOf(':');
      if (colon < 0) throw tlsFault(`${place}: is not identity:hexkey`);
      add(keys, line.slice(0, colon), line.slice(colon + 1).trim(), place);
    });
  }
  return keys;
}

function add(keys: Map<string, Buffer>, identity: string, key: string, place: string): void {
  const fault = pskIdentityFault(identity) ?? pskKeyFault(key);
  if (fault !== undefined) throw tlsFault(`${place}: ${fault}`);
  if (keys.has(identity)) throw tlsFault(`${place}: identity ${JSON.stringify(identity)} is given twice`);
  keys.set(identity, Buffer.from(key, 'hex'));
}

/** What is wrong with an identity; undefined when nothing is. */
export function pskIdentityFault(identity: string): string | undefined {
  const bytes = Buffer.byteLength(identity);
  if (bytes < 1 || bytes > IDENTITY_BYTES_MAX)
    return `an identity has 1 to ${IDENTITY_BYTES_MAX} bytes, this one ${bytes}`;
  return /[\u0000-\u001f\u007f]/.test(identity) ? 'the identity holds control characters' : undefined;
}

export function pskKeyFault(key: string): string | undefined {
  if (!/^([0-9a-fA-F]{2})+$/.test(key))
    return 'the key is not an even number of hexadecimal digits (as openssl rand -hex 32 writes them)';
  return key.length > 2 * KEY_BYTES_MAX ? `the key has more than ${KEY_BYTES_MAX} bytes` : undefined;
}
