/** What the process does about itself: the file with its number, and becoming another user than root. */
import { execFileSync } from 'node:child_process';
import { lchownSync, lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Config, isSecure } from '../../src/config/index.js';

/** Returns what removes the file. Errors: Error with a sentence. */
export function writePidFile(path: string | undefined): () => void {
  if (path === undefined) return () => {};
  try {
    writeFileSync(path, `${process.pid}\n`, { mode: 0o644 });
  } catch (error) {
    throw new Error(`process.pidFile: ${path} cannot be written: ${(error as Error).message}`);
  }
  return () => {
    try {
      rmSync(path);
    } catch {
      // Its folder may belong to root, and the process to somebody else by now.
    }
  };
}

/**
 * Becomes the user of the configuration, if root runs the broker; what is written to later is handed to that user first.
 * `mosquitto` is `nobody` where there is no such user.
 *
 * Returns  what is to be said about it, or undefined. Errors: Error with a sentence.
 */
export function becomeUser(config: Config): string | undefined {
  const { storage, log, listeners, certificateAuthority } = config;
  const { user } = config.process;
  if (user === undefined || user === 'root' || process.getuid?.() !== 0) return undefined;
  const found = idsOf(user) ?? (user === 'mosquitto' ? idsOf('nobody') : undefined);
  if (found === undefined) throw new Error(`process.user: there is no user ${user} on this system`);
  const { uid, gid, name } = found;
  try {
    if (storage.mode !== 'memory') handOver(storage.path, uid, gid);
    if (log.file !== undefined) handOver(log.file, uid, gid);
    // Else what is revoked from now on could not be read.
    if (listeners.some(({ protocol, tls }) => isSecure(protocol) && tls.authority))
      handOver(certificateAuthority.folder, uid, gid);
    (process as unknown as { initgroups: (user: string, group: number) => void }).initgroups(name, gid);
    process.setgid!(gid);
    process.setuid!(uid);
  } catch (error) {
    throw new Error(`process.user: the process cannot become ${name}: ${(error as Error).message}`);
  }
  return `The process runs as ${name} from now on.`;
}

function idsOf(name: string): { uid: number; gid: number; name: string } | undefined {
  const ask = (what: string) =>
    Number(execFileSync('id', [what, '--', name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { uid: ask('-u'), gid: ask('-g'), name };
  } catch {
    return undefined;
  }
}

/** A path and all below it; links are not followed. */
function handOver(path: string, uid: number, gid: number): void {
  lchownSync(path, uid, gid);
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) handOver(join(path, name), uid, gid);
}

/** So that a log file in a folder that is not there yet can be opened. */
export function makeFolderOf(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
}
