/** Reads the files that settings name; what cannot be read is a fault with the file and the setting in its sentence. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Fault, fileFailure } from '../base/index.js';

const FILE_BYTES_MAX = 64 * 1024 * 1024;

/** What is wrong with certificates, keys, lists or settings of TLS. The message names the file. */
export function tlsFault(message: string, cause?: unknown): Fault {
  return new Fault('TLS_MATERIAL_INVALID', message, cause === undefined ? undefined : { cause });
}

/** `what` is the name of the setting. */
export function readNamed(file: string, what: string): Buffer {
  try {
    const { size } = statSync(file);
    if (size > FILE_BYTES_MAX) throw tlsFault(`${what}: ${file} has ${size} bytes; at most ${FILE_BYTES_MAX} are read`);
    return readFileSync(file);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw tlsFault(`${what}: ${file} cannot be read: ${fileFailure(error)}`, error);
  }
}

const certificateName = /\.(pem|crt|cer)$|^[0-9a-f]{8}\.\d+$/i;

/** The file itself, or the certificates in a folder: `*.pem`, `*.crt`, `*.cer` and OpenSSL's hashed names. */
export function filesOf(path: string, what: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => certificateName.test(name));
    if (names.length === 0) throw tlsFault(`${what}: folder ${path} holds no certificate (*.pem, *.crt, *.cer)`);
    return names.sort().map((name) => join(path, name));
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw tlsFault(`${what}: ${path} cannot be read: ${fileFailure(error)}`, error);
  }
}
