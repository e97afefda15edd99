/** The password of the administrator that a broker makes which finds no file. */
import { readFile, rm } from 'node:fs/promises';
import { writeNew } from './file.js';
import { randomPassword } from './initial.js';

const ENVIRONMENT = 'MOSQUITTO_DYNSEC_PASSWORD';
const ENVIRONMENT_LENGTH_MIN = 12;

export interface FirstPassword {
  readonly password: string;
  /** Where it is from or kept, in words; never the password. */
  readonly source: string;
  /** The file in which it was written down. */
  readonly shown?: string;
}

/**
 * Of the file that was named for it, else of the environment, else a random one that is written beside the file of users.
 * Errors  Error in words.
 */
export async function firstPassword(file: string, passwordFile: string | undefined): Promise<FirstPassword> {
  if (passwordFile !== undefined) {
    const text = await readFile(passwordFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new Error(`the password file ${passwordFile} cannot be read (${error.code})`);
    });
    const password = (text.split('\n')[0] ?? '').trimEnd();
    if (password === '') throw new Error(`the password file ${passwordFile} has no password in its first line`);
    return { password, source: `the first line of ${passwordFile}` };
  }
  const given = process.env[ENVIRONMENT];
  if (given !== undefined) {
    if (given.length < ENVIRONMENT_LENGTH_MIN)
      throw new Error(`the password in ${ENVIRONMENT} has fewer than ${ENVIRONMENT_LENGTH_MIN} characters`);
    return { password: given, source: `that of the environment variable ${ENVIRONMENT}` };
  }
  const shown = `${file}.pw`;
  const password = randomPassword();
  await rm(shown, { force: true });
  await writeNew(shown, [`admin ${password}\n`]);
  return { password, source: `written in ${shown}`, shown };
}
