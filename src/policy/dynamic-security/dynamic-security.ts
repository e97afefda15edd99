/**
 * Dynamic security: the first source of both chains, and what carries out the commands of `$CONTROL/dynamic-security/v1`.
 *
 * Messages of commands are worked off one after the other, those that wait together in one batch: a batch is answered on a draft, the
 * draft saved, then it takes effect, then the answers leave. So what was answered is on the disk, and nobody may what is not.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { Fault, type Logger } from '../../base/index.js';
import type { AuthenticationSource, Decision } from '../authentication/source.js';
import { identityOf, next, wrongPassword } from '../authentication/source.js';
import type { AuthorizationSource, BoundSource } from '../authorization/source.js';
import type { PasswordChecker } from '../passwords/password-checker.js';
import { decoyHash, type PasswordHash } from '../passwords/password-hash.js';
import type { Client, ConnectRequest } from '../policy.js';
import { readyStatus, type SourceStatus } from '../sources/guard.js';
import { bindAccess, governsReceive } from './access.js';
import { type Answered, answerCommands } from './commands.js';
import { type Contents, Draft, emptyContents, type User } from './contents.js';
import { describe, readContents, saveDraft, writeContents } from './file.js';
import { firstPassword } from './first-start.js';
import { firstContents } from './initial.js';
import { DYNAMIC_SECURITY, type DynamicSecurityOptions } from './options.js';

export interface DynamicSecurityDependencies {
  readonly log: Logger;
  readonly checker: PasswordChecker;
  /** Contents have changed; `rights`: somebody may do more or less than before. */
  readonly changed: (rights: boolean) => void;
  /** Whether no other source of authorization follows. */
  readonly isLast: () => boolean;
}

/** Who asks with a message of commands. */
export interface Asker {
  readonly client: Client;
  reply(responses: string): void;
}

interface Job {
  readonly asker: Asker;
  readonly payload: Buffer;
}

/** Messages of commands that may wait, and their bytes. */
const WAITING_MAX = 1000;
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** Messages answered by one draft. */
const BATCH_MAX = 100;

export class DynamicSecurity {
  readonly authentication: AuthenticationSource;
  readonly authorization: AuthorizationSource;
  /** Ends the connections of these users. */
  onRevoked: (usernames: ReadonlySet<string>) => void = () => {};
  addressesByUser: () => ReadonlyMap<string, readonly string[]> = () => new Map();
  private contents: Contents = emptyContents();
  private changeIndex = 0;
  private readonly decoys = new Decoys();
  private readonly waiting: Job[] = [];
  private waitingBytes = 0;
  private busy = false;
  private working: Promise<void> = Promise.resolve();
  private governs = true;
  private lastError: string | undefined;

  constructor(
    private readonly options: DynamicSecurityOptions,
    private readonly dependencies: DynamicSecurityDependencies,
  ) {
    const status = (): SourceStatus => readyStatus(DYNAMIC_SECURITY, DYNAMIC_SECURITY, 0, this.lastError);
    const common = { name: DYNAMIC_SECURITY, type: DYNAMIC_SECURITY, status };
    this.authentication = {
      ...common,
      authenticate: (request) => this.authenticate(request),
      open: () => this.open(),
      check: async () => {
        await readContents(options.file);
      },
    };
    const governed = () => this.governs;
    this.authorization = {
      ...common,
      get governsReceive() {
        return governed();
      },
      bind: (client): BoundSource => bindAccess(this.contents, client, dependencies.isLast()),
      close: () => this.close(),
    };
  }

  /** Takes a message of commands; false when as many wait as may. */
  take(asker: Asker, payload: Uint8Array): boolean {
    if (this.waiting.length >= WAITING_MAX || this.waitingBytes + payload.length > WAITING_BYTES_MAX) return false;
    this.waiting.push({ asker, payload: Buffer.from(payload) });
    this.waitingBytes += payload.length;
    if (!this.busy) {
      this.busy = true;
      this.working = this.work();
    }
    return true;
  }

  private async open(): Promise<void> {
    const { file } = this.options;
    this.contents = (await readContents(file)) ?? (await this.makeFirst());
    this.governs = governsReceive(this.contents);
    this.dependencies.changed(true);
  }

  /** Errors  `Fault` ACCESS_FILE when it cannot be made. */
  private async makeFirst(): Promise<Contents> {
    const { file, passwordFile } = this.options;
    const { log } = this.dependencies;
    try {
      const { password, source, shown } = await firstPassword(file, passwordFile);
      const contents = await firstContents(password);
      await writeContents(file, contents);
      log.warning(
        'dynamicSecurity.created',
        `There was no ${file}; it was made with the user admin, whose password is ${source}.`,
        {
          file,
          ...(shown === undefined ? {} : { passwordFile: shown }),
        },
      );
      return contents;
    } catch (error) {
      throw new Fault('ACCESS_FILE', `${file}: cannot be made: ${describe(error)}`, { cause: error });
    }
  }

  /** What was taken is worked off, nothing more is. */
  private async close(): Promise<void> {
    await this.working;
  }

  private authenticate(request: ConnectRequest): Decision | Promise<Decision> {
    const { username, password = nothing, clientId } = request;
    if (username === undefined) return next;
    const user = this.contents.users.get(username);
    const hash = user?.password?.hash ?? this.decoys.of(username, this.contents);
    const right = this.dependencies.checker.check(username, password, hash);
    if (typeof right === 'boolean') return decide(user, right, clientId);
    return right.then((known) => {
      // Meanwhile it may have been disabled, deleted, or given another password.
      const now = this.contents.users.get(username);
      return now?.password === user?.password ? decide(now, known, clientId) : wrongPassword;
    });
  }

  private async work(): Promise<void> {
    while (this.waiting.length > 0) {
      const jobs = this.waiting.splice(0, BATCH_MAX);
      for (const { payload } of jobs) this.waitingBytes -= payload.length;
      await this.workOff(jobs).catch((error: unknown) => {
        this.dependencies.log.error('dynamicSecurity.failed', `commands failed: ${String(error)}`);
      });
    }
    this.busy = false; // in the same breath as the look at what waits
  }

  private async workOff(jobs: readonly Job[]): Promise<void> {
    const { log, changed } = this.dependencies;
    const draft = new Draft(this.contents);
    const answers: Answered[] = [];
    for (const { asker, payload } of jobs) {
      const context = { draft, addressesByUser: this.addressesByUser, changeIndex: this.changeIndex };
      const answered = await answerCommands(payload, context, (command, error) =>
        log.error('dynamicSecurity.failed', `a command failed: ${String(error)}`, { command }),
      );
      this.changeIndex += answered.done.filter(({ command }) => !/^(get|list)/.test(command)).length;
      answers.push(answered);
      for (const { command, names } of answered.done)
        log.information('dynamicSecurity.command', command, { by: asker.client.clientId, ...names });
    }
    const saved = !draft.changed || (await this.save(draft));
    if (saved && draft.changed) {
      draft.apply();
      this.decoys.forget();
      this.governs = governsReceive(this.contents);
      changed(draft.rightsChanged);
    }
    for (const [index, { asker }] of jobs.entries())
      asker.reply(JSON.stringify({ responses: saved ? answers[index]!.responses : notSaved(answers[index]!) }));
    if (saved && draft.revoked.size > 0) this.onRevoked(draft.revoked);
  }

  private async save(draft: Draft): Promise<boolean> {
    try {
      await saveDraft(this.options.file, draft);
      this.lastError = undefined;
      return true;
    } catch (error) {
      this.lastError = describe(error);
      this.dependencies.log.error('dynamicSecurity.not-saved', 'a change was undone, as it could not be written', {
        file: this.options.file,
        error: this.lastError,
      });
      return false;
    }
  }
}

const nothing = Buffer.alloc(0);

/**
 * What unknown users are compared with: the work of some known one, told by a keyed digest of the name, so that the next try takes as
 * long.
 */
class Decoys {
  private readonly key = randomBytes(32);
  private hashes: readonly PasswordHash[] | undefined;

  forget(): void {
    this.hashes = undefined;
  }

  of(username: string, { users }: Contents): PasswordHash {
    this.hashes ??= [...users.values()].flatMap(({ password }) => (password === undefined ? [] : [password.hash]));
    if (this.hashes.length === 0) return decoyHash;
    const pick = createHmac('sha256', this.key).update(username).digest().readUInt32BE(0);
    return this.hashes[pick % this.hashes.length]!;
  }
}

function decide(user: User | undefined, right: boolean, clientId: string): Decision {
  if (user === undefined) return next;
  const fits = user.clientid === undefined || user.clientid === clientId;
  if (!right || user.password === undefined || user.disabled || !fits) return wrongPassword;
  return { outcome: 'allow', identity: identityOf(DYNAMIC_SECURITY, user.username) };
}

/** Nothing took effect, so whatever was answered on the draft is taken back. */
function notSaved({ responses, unsavedFrom }: Answered): unknown[] {
  return responses.map((response, index) => {
    if (index < unsavedFrom || response.error !== undefined) return response;
    const { command, correlationData } = response;
    const error = 'Nothing has changed: the file of dynamic security cannot be written';
    return { command, error, ...(correlationData === undefined ? {} : { correlationData }) };
  });
}
