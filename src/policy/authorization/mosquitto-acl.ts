/**
 * The ACL file of Mosquitto:
 *
 *   topic [read|write|readwrite|deny] <topic>     before the first `user`: clients without a user name
 *   user <user name>                              what follows is about this user
 *   pattern [read|write|readwrite|deny] <topic>   everybody, with %u and %c
 *
 * As there: `deny` counts before the others, `topic` before `pattern`; reading is checked for each delivery, and what no line allows
 * to be read is not delivered. A subscription is refused when no line could let anything of it through, and taken otherwise.
 */
import type { Client } from '../policy.js';
import type { Question } from '../sources/facts.js';
import { FilterTemplate } from './filter-template.js';
import type { Answer, Verdict } from './rule.js';
import type { CompiledFilter } from './topic-filter.js';

const READ = 1;
const WRITE = 2;
const accesses: Readonly<Record<string, number>> = { read: READ, write: WRITE, readwrite: READ | WRITE, deny: 0 };

interface Line {
  /** 0 denies. */
  readonly access: number;
  readonly filter: FilterTemplate;
  readonly verdict: Verdict;
}

export interface MosquittoAcl {
  readonly anonymous: readonly Line[];
  readonly users: ReadonlyMap<string, readonly Line[]>;
  readonly patterns: readonly Line[];
}

/** Errors  Error that names the line. */
export function parseMosquittoAcl(text: string, path: string): MosquittoAcl {
  const anonymous: Line[] = [];
  const users = new Map<string, Line[]>();
  const patterns: Line[] = [];
  let current = anonymous;
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/\r$/, '').trim();
    if (line === '' || line.startsWith('#')) continue;
    const at = `line ${index + 1}`;
    const [, word = '', rest = ''] = /^(\S+)\s*(.*)$/.exec(line)!;
    if (word === 'user') {
      if (rest === '') throw new Error(`${at}: user without a name`);
      current = users.get(rest) ?? [];
      users.set(rest, current);
    } else if (word === 'topic' || word === 'pattern') {
      (word === 'topic' ? current : patterns).push(parseLine(word, rest, at, `${path}:${index + 1}`));
    } else throw new Error(`${at}: ${JSON.stringify(word.slice(0, 40))} is none of topic, user, pattern`);
  }
  return { anonymous, users, patterns };
}

function parseLine(word: string, rest: string, at: string, origin: string): Line {
  const split = /^(\S+)\s+(.+)$/.exec(rest);
  const [, given, topic] = split ?? [undefined, 'readwrite', rest];
  const access = Object.hasOwn(accesses, given!) ? accesses[given!] : undefined;
  if (access === undefined)
    throw new Error(`${at}: ${JSON.stringify(given)} is none of ${Object.keys(accesses).join(', ')}`);
  // Only patterns know variables, and only these two.
  const percents = word === 'topic' ? topic!.replaceAll('%', '%%') : topic!.replace(/%(?![uc])/g, '%%');
  try {
    return {
      access,
      filter: new FilterTemplate(percents.replaceAll('$', '%$'), access !== 0, false),
      verdict: { permit: access !== 0, origin },
    };
  } catch (error) {
    throw new Error(`${at}: ${(error as Error).message}`);
  }
}

interface BoundLine {
  readonly access: number;
  readonly filter: CompiledFilter;
  readonly verdict: Verdict;
}

/** The lines that hold for one client. */
export class MosquittoAccess {
  private readonly parts: readonly (readonly BoundLine[])[];
  private readonly path: string;

  constructor({ anonymous, users, patterns }: MosquittoAcl, client: Client, path: string) {
    this.path = path;
    const own = client.username === undefined ? anonymous : (users.get(client.username) ?? []);
    this.parts = [own, patterns].map((lines) => {
      const bound: BoundLine[] = [];
      for (const { access, filter, verdict } of lines) {
        const compiled = filter.bind({ client });
        if (compiled !== undefined) bound.push({ access, filter: compiled, verdict });
      }
      return bound.sort((a, b) => Number(a.access !== 0) - Number(b.access !== 0));
    });
  }

  ask({ action, topic }: Question): Answer {
    const wanted = action === 'publish' ? WRITE : READ;
    for (const lines of this.parts)
      for (const { access, filter, verdict } of lines) {
        if (action === 'subscribe') {
          if (access === 0 ? filter.covers(topic) : (access & READ) !== 0 && filter.overlaps(topic)) return verdict;
        } else if ((access === 0 || (access & wanted) !== 0) && filter.matches(topic)) return verdict;
      }
    return action === 'receive' ? { permit: false, origin: `${this.path}: no line allows it` } : undefined;
  }
}
