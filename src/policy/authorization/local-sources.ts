/** The sources that need nothing outside the process: rules of the configuration and of files, of tokens, and roles. */
import { LineCounter, parseDocument } from 'yaml';
import type { Logger } from '../../base/index.js';
import type { Client } from '../policy.js';
import { readyStatus, type SourceStatus } from '../sources/guard.js';
import { WatchedFile } from '../sources/watched-file.js';
import { MosquittoAccess, type MosquittoAcl, parseMosquittoAcl } from './mosquitto-acl.js';
import type { RoleBook, RoleDefaults } from './role-book.js';
import { actionBits, bindRules, compileRule, parseRule, type Rule, type RuleInput } from './rule.js';
import type { AuthorizationSource, BoundSource } from './source.js';
import type { Standing } from './who.js';

const forbidsReceive = (rules: readonly Rule[]) =>
  rules.some(({ verdict, actions }) => !verdict.permit && (actions & actionBits.receive) !== 0);

/** Rules of the configuration. */
export class RulesSource implements AuthorizationSource {
  readonly type = 'rules';
  private readonly rules: readonly Rule[];

  /** Errors  Error in words when a rule cannot be used. */
  constructor(
    readonly name: string,
    rules: readonly RuleInput[],
  ) {
    this.rules = rules.map((rule, index) => compileRule(rule, `${name}, rule ${index + 1}`));
  }

  get governsReceive(): boolean {
    return forbidsReceive(this.rules);
  }

  bind(client: Client, standing: Standing): BoundSource {
    return bindRules(this.rules, client, standing);
  }

  status(): SourceStatus {
    return readyStatus(this.name, this.type);
  }
}

/** Rules of a YAML file, a list of the same rules as in the configuration. */
export class RulesFileSource implements AuthorizationSource {
  readonly type = 'rulesFile';
  private rules: readonly Rule[] = [];
  private readonly file: WatchedFile<Rule[]>;

  constructor(
    readonly name: string,
    path: string,
    log: Logger,
    changed: () => void,
    lookMs?: number,
  ) {
    const take = (rules: Rule[]): void => {
      this.rules = rules;
      changed();
    };
    this.file = new WatchedFile(path, (text) => parseRulesFile(text, path), take, log, lookMs);
  }

  get governsReceive(): boolean {
    return forbidsReceive(this.rules);
  }

  bind(client: Client, standing: Standing): BoundSource {
    return bindRules(this.rules, client, standing);
  }

  open(): Promise<void> {
    return this.file.open();
  }

  look(): void {
    this.file.look();
  }

  async close(): Promise<void> {
    this.file.close();
  }

  status(): SourceStatus {
    return readyStatus(this.name, this.type, 0, this.file.lastError);
  }
}

/** Errors  Error that names the line. */
export function parseRulesFile(text: string, path: string): Rule[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [fault] = document.errors;
  if (fault !== undefined)
    throw new Error(`line ${lines.linePos(fault.pos[0]).line}: is not valid YAML: ${fault.message.split('\n')[0]}`);
  const values: unknown = document.toJS({ maxAliasCount: 100 }) ?? [];
  if (!Array.isArray(values)) throw new Error('is no list of rules');
  return values.map((value, index) => {
    const node = document.getIn([index], true) as { range?: [number, number, number] } | undefined;
    const line = node?.range === undefined ? index + 1 : lines.linePos(node.range[0]).line;
    try {
      return compileRule(parseRule(value), `${path}:${line}`);
    } catch (error) {
      throw new Error(`line ${line}: ${(error as Error).message}`);
    }
  });
}

/** The ACL file of Mosquitto. */
export class MosquittoAclSource implements AuthorizationSource {
  readonly type = 'mosquittoAclFile';
  /** What is not allowed to be read is not delivered. */
  readonly governsReceive = true;
  private acl: MosquittoAcl = { anonymous: [], users: new Map(), patterns: [] };
  private readonly file: WatchedFile<MosquittoAcl>;

  constructor(
    readonly name: string,
    private readonly path: string,
    log: Logger,
    changed: () => void,
    lookMs?: number,
  ) {
    const take = (acl: MosquittoAcl): void => {
      this.acl = acl;
      changed();
    };
    this.file = new WatchedFile(path, (text) => parseMosquittoAcl(text, path), take, log, lookMs);
  }

  bind(client: Client): BoundSource {
    return new MosquittoAccess(this.acl, client, this.path);
  }

  open(): Promise<void> {
    return this.file.open();
  }

  look(): void {
    this.file.look();
  }

  async close(): Promise<void> {
    this.file.close();
  }

  status(): SourceStatus {
    return readyStatus(this.name, this.type, 0, this.file.lastError);
  }
}

/** The rules that came with the identity: claims of a token, the answer of a login service. */
export class IdentitySource implements AuthorizationSource {
  readonly type = 'identity';
  /** Nobody knows what the next token says. */
  readonly governsReceive = true;
  /** Compiled rules by what was given: identities of one token or cached login share it. */
  private readonly compiled = new WeakMap<readonly unknown[], readonly Rule[]>();

  constructor(readonly name: string) {}

  bind(client: Client, standing: Standing): BoundSource {
    const given = client.identity?.rules;
    if (given === undefined) return { ask: () => undefined };
    let rules = this.compiled.get(given);
    if (rules === undefined) {
      const origin = `rules of ${client.identity?.source ?? 'the login'}`;
      rules = given.map((rule) => compileRule(rule as RuleInput, origin));
      this.compiled.set(given, rules);
    }
    return bindRules(rules, client, standing);
  }

  status(): SourceStatus {
    return readyStatus(this.name, this.type);
  }
}

/** Roles and groups. */
export class RolesSource implements AuthorizationSource {
  readonly type = 'roles';

  constructor(
    readonly name: string,
    private readonly defaults: RoleDefaults,
    private readonly book: RoleBook,
  ) {}

  get governsReceive(): boolean {
    return this.defaults.publishClientReceive === 'deny' || this.book.deniesReceive;
  }

  bind(client: Client, standing: Standing): BoundSource {
    const access = this.book.bind(client, standing, this.defaults);
    return {
      ask: (question) => access.ask(question),
      askUnsubscribe: (topicFilter) => access.askUnsubscribe(topicFilter),
    };
  }

  status(): SourceStatus {
    return readyStatus(this.name, this.type);
  }
}
