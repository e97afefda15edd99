/**
 * A rule's filter against what a client asks for, compiled once.
 *
 *   matches(topicName)  a publish: the filter matches the Topic Name as a subscription would
 *   covers(filter)      every Topic Name that `filter` matches is matched by this one
 *   overlaps(filter)    some Topic Name is matched by both
 *
 * `strict` is for what is granted: a wildcard in the first level leaves out topics that begin with `$`, as in a subscription.
 * What is denied is not strict: `deny #` means everything.
 */
export interface CompiledFilter {
  readonly text: string;
  matches(topicName: string): boolean;
  covers(topicFilter: string): boolean;
  overlaps(topicFilter: string): boolean;
}

export function compileFilter(text: string, strict: boolean): CompiledFilter {
  if (!text.includes('+') && !text.includes('#')) return new LiteralFilter(text);
  if (text.endsWith('/#') && !text.includes('+')) return new PrefixFilter(text);
  return new LevelFilter(text, strict);
}

/** `eq`: only what is written exactly so, wildcards included. */
export function compileExact(text: string): CompiledFilter {
  const equal = (other: string) => other === text;
  return { text: `eq ${text}`, matches: equal, covers: equal, overlaps: equal };
}

class LiteralFilter implements CompiledFilter {
  constructor(readonly text: string) {}

  matches(topicName: string): boolean {
    return topicName === this.text;
  }

  covers(topicFilter: string): boolean {
    return topicFilter === this.text;
  }

  overlaps(topicFilter: string): boolean {
    return topicFilter === this.text || overlap(this.text.split('/'), topicFilter.split('/'), true);
  }
}

/** `a/b/#` */
class PrefixFilter implements CompiledFilter {
  private readonly prefix: string;
  private readonly parent: string;
  private readonly levels: readonly string[];

  constructor(readonly text: string) {
    this.prefix = text.slice(0, -1);
    this.parent = text.slice(0, -2);
    this.levels = text.split('/');
  }

  matches(topicName: string): boolean {
    return topicName.startsWith(this.prefix) || topicName === this.parent;
  }

  covers(topicFilter: string): boolean {
    // What comes behind the prefix may be anything, wildcards included.
    return topicFilter.startsWith(this.prefix) || topicFilter === this.parent;
  }

  overlaps(topicFilter: string): boolean {
    return overlap(this.levels, topicFilter.split('/'), true);
  }
}

class LevelFilter implements CompiledFilter {
  private readonly levels: readonly string[];
  private readonly sparesDollar: boolean;

  constructor(
    readonly text: string,
    private readonly strict: boolean,
  ) {
    this.levels = text.split('/');
    this.sparesDollar = strict && (this.levels[0] === '#' || this.levels[0] === '+');
  }

  matches(topicName: string): boolean {
    if (this.sparesDollar && topicName.charCodeAt(0) === 0x24) return false;
    const { levels } = this;
    let start = 0;
    for (let index = 0; index < levels.length; index++) {
      const level = levels[index]!;
      if (level === '#') return true;
      if (start > topicName.length) return false;
      const slash = topicName.indexOf('/', start);
      const end = slash < 0 ? topicName.length : slash;
      if (level !== '+' && (end - start !== level.length || !topicName.startsWith(level, start))) return false;
      start = end + 1;
    }
    return start > topicName.length;
  }

  covers(topicFilter: string): boolean {
    if (this.sparesDollar && topicFilter.charCodeAt(0) === 0x24) return false;
    const asked = topicFilter.split('/');
    const { levels } = this;
    for (const [index, level] of levels.entries()) {
      if (level === '#') return true;
      if (index >= asked.length || asked[index] === '#') return false;
      if (level !== '+' && level !== asked[index]) return false;
    }
    return levels.length === asked.length;
  }

  overlaps(topicFilter: string): boolean {
    return overlap(this.levels, topicFilter.split('/'), this.strict);
  }
}

/** Whether some topic is matched by both, one of which is asked for and so spares `$` where it begins with a wildcard. */
function overlap(rule: readonly string[], asked: readonly string[], strict: boolean): boolean {
  const wild = (level: string | undefined) => level === '#' || level === '+';
  if (wild(asked[0]) && rule[0]!.startsWith('$')) return false;
  if (strict && wild(rule[0]) && asked[0]!.startsWith('$')) return false;
  for (let index = 0; ; index++) {
    const mine = rule[index];
    const theirs = asked[index];
    if (mine === '#' || theirs === '#') {
      // `/#` also matches what stands before the slash, but that is nothing, and no topic.
      const parentOnly = index === 1 && (mine === undefined || theirs === undefined);
      return !(parentOnly && (rule[0] === '' || asked[0] === ''));
    }
    if (mine === undefined || theirs === undefined) return mine === theirs;
    if (mine !== '+' && theirs !== '+' && mine !== theirs) return false;
  }
}
