/**
 * SCRAM credentials of users whose passwords are known, derived once each and kept in memory.
 *
 * `prepareAll` derives them ahead: a first login that waits for the derivation would tell an observer that the user exists.
 */

import { saslPrep } from './sasl-prep.js';
import {
  DEFAULT_ITERATIONS,
  deriveScramCredentials,
  type ScramCredentials,
  type ScramMethod,
  scramMethods,
} from './scram.js';

const keyOf = (method: ScramMethod, username: string) => `${method}\0${username}`;

export class ScramUsers {
  private readonly passwords = new Map<string, string>();
  private readonly derived = new Map<string, Promise<ScramCredentials>>();

  /** What `former` has derived is kept for users whose password is the same. */
  constructor(
    users: readonly { readonly username: string; readonly password: string }[],
    private readonly iterations: number = DEFAULT_ITERATIONS,
    former?: ScramUsers,
  ) {
    for (const { username, password } of users) {
      // A name that is written otherwise once prepared may be that of another user, also of one who has no SCRAM.
      if (saslPrep(username) !== username) continue;
      this.passwords.set(username, password);
      if (former?.passwords.get(username) !== password) continue;
      for (const method of scramMethods) {
        const key = keyOf(method, username);
        const credentials = former.derived.get(key);
        if (credentials !== undefined) this.derived.set(key, credentials);
      }
    }
  }

  readonly find = async (method: ScramMethod, username: string): Promise<ScramCredentials | undefined> => {
    const password = this.passwords.get(username);
    if (password === undefined) return undefined;
    const key = keyOf(method, username);
    let credentials = this.derived.get(key);
    if (credentials === undefined) {
      credentials = deriveScramCredentials(method, password, { iterations: this.iterations });
      this.derived.set(key, credentials);
    }
    return credentials;
  };

  /** One derivation after the other, so that other work of the process's thread pool goes on. */
  async prepareAll(signal?: { readonly aborted: boolean }): Promise<void> {
    for (const username of this.passwords.keys())
      for (const method of scramMethods) {
        if (signal?.aborted) return;
        await this.find(method, username);
      }
  }
}
