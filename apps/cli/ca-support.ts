/** What the actions of `dunlin ca` share: settings, files that are read, files that must not be overwritten. */
import type { KeyObject, X509Certificate } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Fault } from '../../src/base/index.js';
import {
  type AuthoritySettings,
  findPrivateKey,
  readCertificatesFrom,
  readKeyMaterial,
} from '../../src/certificates/index.js';
import { type Config, defaultConfig, loadConfigFile } from '../../src/config/index.js';

export type OptionKind = 'flag' | 'value' | 'list';

/** Where the command writes. */
export interface CaOutput {
  readonly stdout: { write: (chunk: string | Uint8Array) => void };
  readonly stderr: { write: (text: string) => void };
}

/** What is said to the user in one line. */
export class CaRefusal extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
  ) {
    super(message);
  }
}

/** Besides those of the authority, the port that the examples connect to. */
export type CaSettings = AuthoritySettings & { readonly port: number };

const MQTTS_PORT = 8883;

export function openSettings(
  file: string | undefined,
  folder: string | undefined,
): { settings: CaSettings; folder: string } {
  const config = readConfig(file ?? (existsSync('./dunlin.yaml') ? './dunlin.yaml' : undefined));
  const { folder: configured, ...settings } = config.certificateAuthority;
  const secure = config.listeners.find(({ protocol }) => protocol === 'mqtts');
  return { settings: { ...settings, port: secure?.port || MQTTS_PORT }, folder: folder ?? configured };
}

function readConfig(file: string | undefined): Config {
  if (file === undefined) return defaultConfig();
  const { config } = loadConfigFile(file);
  if (config === undefined) throw new CaRefusal(`${file} has problems; dunlin config check ${file} names them`, 2);
  return config;
}

export function readInput(file: string): Buffer {
  try {
    return readFileSync(file === '-' ? 0 : file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new CaRefusal(`there is no file ${file}`, 2);
    throw new CaRefusal(`${file} cannot be read: ${message}`, 1);
  }
}

/** The first line: editors end a file with a line break that is no part of the password. */
export function readPassword(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const [line = ''] = readInput(file).toString('utf8').split(/\r?\n/, 1);
  if (line === '') throw new CaRefusal(`${file} holds no password in its first line`, 2);
  return line;
}

/** Certificates, and their key when it is there: PEM in one file or two, a certificate in DER, PKCS#12, or a Java keystore. */
export function readMaterial(
  file: string,
  keyFile: string | undefined,
  password: string | undefined,
): { chain: readonly X509Certificate[]; key: KeyObject | undefined } {
  const bytes = readInput(file);
  if (!bytes.includes('-----BEGIN') && !isCertificate(bytes)) {
    if (keyFile !== undefined) throw new CaRefusal(`${file} is no certificate; a keystore brings its own key`, 2);
    if (password === undefined)
      throw new CaRefusal(`${file} is neither PEM nor a certificate; for a keystore give --password-file`, 2);
    const { chain, key } = readKeyMaterial(
      { keystore: file, keystorePassword: password, keystoreType: 'auto' },
      'import',
    );
    return { chain, key };
  }
  const chain = readCertificatesFrom(bytes, file);
  const keyBytes = keyFile === undefined ? bytes : readInput(keyFile);
  const key = findPrivateKey(keyBytes, password, keyFile ?? file);
  if (keyFile !== undefined && key === undefined) throw new CaRefusal(`${keyFile} holds no private key`, 2);
  const own = key === undefined ? undefined : chain.find((certificate) => certificate.checkPrivateKey(key));
  if (key !== undefined && own === undefined)
    throw new CaRefusal(`the private key in ${keyFile ?? file} is not that of a certificate in ${file}`, 2);
  return { chain: own === undefined ? chain : [own, ...chain.filter((certificate) => certificate !== own)], key };
}

function isCertificate(bytes: Buffer): boolean {
  try {
    return readCertificatesFrom(bytes, 'the file').length > 0;
  } catch (error) {
    if (error instanceof Fault) return false;
    throw error;
  }
}

export interface NewFile {
  readonly name: string;
  readonly contents: Buffer | string;
  readonly mode: number;
}

/**
 * Makes sure of a place for files before there is something to lose: a private key that cannot be written is gone.
 * Nothing that is there is overwritten.
 */
export class Place {
  private constructor(
    private readonly path: string,
    private readonly isFolder: boolean,
    private readonly made: readonly string[],
  ) {}

  static file(path: string): Place {
    mkdirSync(dirname(path), { recursive: true });
    try {
      closeSync(openSync(path, 'wx', 0o600));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST')
        throw new CaRefusal(`${path} exists already; nothing is overwritten`, 1);
      throw error;
    }
    return new Place(path, false, [path]);
  }

  /** `names`: the files that will be written. */
  static folder(path: string, names: readonly string[]): Place {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const made: string[] = [];
    try {
      for (const name of names) {
        Place.file(join(path, name));
        made.push(join(path, name));
      }
    } catch (error) {
      for (const file of made) rmSync(file, { force: true });
      throw error;
    }
    return new Place(path, true, made);
  }

  /** Returns the paths written. */
  write(files: readonly NewFile[]): string[] {
    return files.map(({ name, contents, mode }) => {
      const path = this.isFolder ? join(this.path, name) : this.path;
      rmSync(path, { force: true }); // what holds the place is its owner's alone, and would stay so
      writeFileSync(path, contents, { mode, flag: 'wx' });
      return path;
    });
  }

  /** Takes back what was reserved. */
  giveUp(): void {
    for (const file of this.made) rmSync(file, { force: true });
  }
}
