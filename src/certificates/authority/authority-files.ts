/**
 * The files of an authority's folder: changed so that a crash at any moment leaves either the old or the new.
 *
 *   ca.pem ca.key · server.pem server.key · crl.pem · index.json · clients/<id>.pem · replaced/<time>/… · lock
 *
 * A certificate and its key are two files that change together: both are written beside the old ones (`.new`, the certificate
 * last), then renamed; `settle` finishes what a crash interrupted.
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  fchownSync,
  fsyncSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '../../base/index.js';
import { realFiles } from '../../storage/index.js';
import { authorityFault } from './authority-fault.js';
import { readAuthorityKey, readChain } from './certificate-text.js';

const LOCK_WAIT_MS = 15_000;
const LOCK_RETRY_MS = 25;
const PRIVATE = 0o600;
const PUBLIC = 0o644;

export const INDEX_FILE = 'index.json';
export const CRL_FILE = 'crl.pem';

export interface CertificateAndKey {
  readonly chain: readonly X509Certificate[];
  readonly key: KeyObject | undefined;
}

/** Another one when the certificate is. */
export const pairMark = (pair: CertificateAndKey | undefined) => pair?.chain[0]?.fingerprint256;

export type PairName = 'ca' | 'server';

export class AuthorityFiles {
  private turn: Promise<unknown> = Promise.resolve();

  constructor(readonly folder: string) {}

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Undefined when there is no such file. */
  read(name: string): Buffer | undefined {
    try {
      return readFileSync(this.path(name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  makeFolder(): void {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
  }

  /** The owner of what is made here: that of the folder, whose broker may run as another user than root, who made it. */
  private owner(): { uid: number; gid: number } | undefined {
    return process.getuid?.() === 0 ? statSync(this.folder) : undefined;
  }

  /** `path` is one below the folder, or two. */
  private makeFolderWithin(path: string): void {
    const owner = this.owner();
    for (const at of [dirname(path), path]) {
      if (existsSync(at)) continue;
      mkdirSync(at, { mode: 0o700 });
      if (owner !== undefined) lchownSync(at, owner.uid, owner.gid);
    }
  }

  /** Replaces the file in one step; on the disk when it returns. */
  write(name: string, contents: Buffer | string, secrecy: 'private' | 'public'): void {
    const path = this.path(name);
    this.makeFolderWithin(dirname(path));
    const owner = this.owner();
    const temporary = `${path}.tmp`;
    rmSync(temporary, { force: true }); // of a process that is gone: this one holds the lock
    const fd = openSync(temporary, 'wx', secrecy === 'private' ? PRIVATE : PUBLIC);
    try {
      const bytes = Buffer.from(contents);
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  }

  remove(name: string): void {
    rmSync(this.path(name), { force: true });
  }

  /** As `write`, with the contents of before as `<name>.previous`. */
  writeKeepingPrevious(name: string, contents: string, secrecy: 'private' | 'public'): void {
    const path = this.path(name);
    if (existsSync(path)) {
      rmSync(`${path}.previous`, { force: true });
      linkOrCopy(path, `${path}.previous`);
    }
    this.write(name, contents, secrecy);
  }

  /** Puts copies of the files that are there into a folder of their own under `replaced/`; returns its path. */
  keep(names: readonly string[], nowMs: number): string | undefined {
    const there = names.filter((name) => existsSync(this.path(name)));
    if (there.length === 0) return undefined;
    const stamp = new Date(nowMs).toISOString().replace(/[:.]/g, '-');
    let folder = join('replaced', stamp);
    for (let count = 2; existsSync(this.path(folder)); count++) folder = join('replaced', `${stamp}-${count}`);
    this.makeFolderWithin(this.path(folder));
    // Files are never changed in place, so a second name for one keeps what it holds.
    for (const name of there) linkOrCopy(this.path(name), this.path(join(folder, basename(name))));
    syncFolder(this.path(folder));
    syncFolder(this.path('replaced'));
    return this.path(folder);
  }

  /** Undefined when there is none. Errors: `Fault` CA_DAMAGED naming the file. */
  readPair(name: PairName): CertificateAndKey | undefined {
    const pem = this.read(`${name}.pem`);
    if (pem === undefined) return undefined;
    const keyPem = this.read(`${name}.key`);
    try {
      const chain = readChain(pem, this.path(`${name}.pem`));
      const key = keyPem === undefined ? undefined : readAuthorityKey(keyPem, this.path(`${name}.key`));
      if (key !== undefined && !chain[0]!.checkPrivateKey(key))
        throw authorityFault('CA_INPUT', `${this.path(`${name}.key`)} is not the key of ${this.path(`${name}.pem`)}`);
      return { chain, key };
    } catch (error) {
      if (error instanceof Fault) throw authorityFault('CA_DAMAGED', error.message, error);
      throw error;
    }
  }

  /** Keeps a copy of what is replaced; returns where. */
  writePair(name: PairName, { chain, key }: CertificateAndKey, nowMs: number): string | undefined {
    const kept = this.keep([`${name}.pem`, `${name}.key`], nowMs);
    if (key !== undefined)
      this.write(`${name}.key.new`, key.export({ format: 'pem', type: 'pkcs8' }) as string, 'private');
    else rmSync(this.path(`${name}.key.new`), { force: true });
    this.write(`${name}.pem.new`, chain.map(String).join(''), 'public');
    this.settle(name);
    return kept;
  }

  /** Finishes a change of a pair: once the new certificate is there whole, it counts; before, the old one does. */
  settle(name: PairName): void {
    const [pem, key] = [this.path(`${name}.pem`), this.path(`${name}.key`)];
    if (!existsSync(`${pem}.new`)) {
      rmSync(`${key}.new`, { force: true });
      return;
    }
    if (existsSync(`${key}.new`)) renameSync(`${key}.new`, key);
    else if (existsSync(key) && !this.belongs(key, `${pem}.new`)) rmSync(key);
    renameSync(`${pem}.new`, pem);
    syncFolder(this.folder);
  }

  private belongs(key: string, pem: string): boolean {
    try {
      return readChain(readFileSync(pem), pem)[0]!.checkPrivateKey(readAuthorityKey(readFileSync(key), key));
    } catch {
      return false;
    }
  }

  /** Says so when others than the owner may read a private key. */
  exposedKeys(): string[] {
    if (process.platform === 'win32') return [];
    return ['ca.key', 'server.key']
      .map((name) => this.path(name))
      .filter((path) => existsSync(path) && (statSync(path).mode & 0o077) !== 0)
      .map((path) => `${path} can be read by others than its owner; chmod 600 ends that`);
  }

  /**
   * Runs `work` while nothing else changes the folder, in this process or another.
   * Errors  `Fault` CA_IN_USE when another process keeps it locked.
   */
  exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    const mine = this.turn.then(async () => {
      this.makeFolder();
      const unlock = await this.lock();
      try {
        return await work();
      } finally {
        unlock();
      }
    });
    this.turn = mine.catch(() => {});
    return mine;
  }

  private async lock(): Promise<() => void> {
    for (const until = performance.now() + LOCK_WAIT_MS; ; await sleep(LOCK_RETRY_MS)) {
      try {
        return realFiles.lock(this.folder);
      } catch (error) {
        if (!(error instanceof Fault) || error.code !== 'STORAGE_IN_USE') throw error;
        if (performance.now() > until)
          throw authorityFault(
            'CA_IN_USE',
            `${this.folder} is being changed by another process: ${error.message}`,
            error,
          );
      }
    }
  }
}

/** A second name, where the file system knows such. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
