/**
 * Sorts lines by what they are about: the whole broker, a listener, a plugin, a bridge. As in Mosquitto, a directive of a listener counts
 * for the `listener` above it in the same file, and for the default listener where there is none.
 *
 * Shape    A `Block` hands out values once they are sound, and reports those that are not.
 */
import { quoted } from '../../base/index.js';
import type { DirectiveRow } from './directive.js';
import { findDirective, nearestDirective } from './directives.js';
import type { Part } from './read-lines.js';
import type { Line, Remarks } from './remarks.js';

export class Block {
  private readonly given = new Map<string, Line[]>();

  /** `begin` is the line that opened the block; undefined for those that are there without one. */
  constructor(
    readonly begin: Line | undefined,
    private readonly remarks: Remarks,
  ) {}

  add(whole: Line, { repeats, value }: DirectiveRow): void {
    const line = value === 'flag' || value === 'integer' ? this.firstWord(whole) : whole;
    const lines = this.given.get(line.name);
    if (lines === undefined) {
      this.given.set(line.name, [line]);
      return;
    }
    if (repeats) lines.push(line);
    else {
      const before = lines[0]!;
      const first = `${before.file === line.file ? '' : `${before.file}, `}line ${before.line}`;
      if (value === 'flag' || value === 'integer') {
        this.remarks.warn(line, `takes the place of ${first}, which has the same name`);
        lines[0] = line;
      } else this.remarks.problem(line, `is given twice, first on ${first}`);
    }
  }

  /** Of a number or a flag Mosquitto reads one word, so that a comment may stand behind it. */
  private firstWord(line: Line): Line {
    const [, word, rest] = /^(\S+)\s+(.*)$/s.exec(line.value) ?? [];
    if (word === undefined || rest === undefined) return line;
    this.remarks.warn(line, `is ${quoted(word)}; ${quoted(rest)} behind it does not count`);
    return { ...line, value: word };
  }

  get empty(): boolean {
    return this.given.size === 0;
  }

  get names(): string[] {
    return [...this.given.keys()];
  }

  line(name: string): Line | undefined {
    return this.given.get(name)?.[0];
  }

  all(name: string): readonly Line[] {
    return this.given.get(name) ?? [];
  }

  text(name: string): string | undefined {
    return this.line(name)?.value;
  }

  flag(name: string): boolean | undefined {
    const line = this.line(name);
    if (line === undefined) return undefined;
    if (line.value === 'true' || line.value === '1') return true;
    if (line.value === 'false' || line.value === '0') return false;
    this.remarks.problem(line, `found ${quoted(line.value)}, allowed is true or false`);
    return undefined;
  }

  integer(name: string, minimum: number, maximum: number): number | undefined {
    const line = this.line(name);
    if (line === undefined) return undefined;
    const value = Number(line.value);
    if (/^-?\d{1,16}$/.test(line.value) && value >= minimum && value <= maximum) return value;
    this.remarks.problem(line, `found ${quoted(line.value)}, allowed is a whole number from ${minimum} to ${maximum}`);
    return undefined;
  }

  choice<Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const line = this.line(name);
    if (line === undefined) return undefined;
    const found = words.find((word) => word === line.value);
    if (found === undefined)
      this.remarks.problem(line, `found ${quoted(line.value)}, allowed is one of ${words.join(', ')}`);
    return found;
  }
}

/** What a C plugin is asked to be: its file, its options, and the listener it stands under. */
export interface PluginBlock {
  readonly path: string;
  readonly line: Line;
  readonly global: boolean;
  /** Under which name `plugin_use` asks for it; undefined where it counts by standing there. */
  readonly name: string | undefined;
  readonly listener: ListenerBlock;
  /** `config_file` of `plugin_opt_config_file` */
  readonly options: Map<string, Line>;
}

export interface ListenerBlock {
  readonly block: Block;
  /** The directives of `per_listener_settings`. */
  readonly security: Block;
  readonly isDefault: boolean;
}

export interface Sections {
  readonly global: Block;
  readonly defaultListener: ListenerBlock;
  readonly listeners: readonly ListenerBlock[];
  readonly plugins: readonly PluginBlock[];
  readonly bridges: readonly Block[];
  /** Settings of security where they hold for all listeners. */
  readonly security: Block;
  readonly perListener: boolean;
}

export function sortLines(parts: readonly Part[], remarks: Remarks): Sections {
  const global = new Block(undefined, remarks);
  const security = new Block(undefined, remarks);
  const listenerBlock = (begin: Line | undefined): ListenerBlock => ({
    block: new Block(begin, remarks),
    security: new Block(begin, remarks),
    isDefault: begin === undefined,
  });
  const defaultListener = listenerBlock(undefined);
  const listeners: ListenerBlock[] = [];
  const plugins: PluginBlock[] = [];
  const bridges: Block[] = [];
  const perListener = isPerListener(parts);
  interface Context {
    listener: ListenerBlock;
    bridge?: Block;
    plugin?: PluginBlock | undefined;
  }
  const contexts = new Map<number, Context>();
  for (const { context: key, lines } of parts) {
    const context: Context = contexts.get(key) ?? { listener: defaultListener };
    contexts.set(key, context);
    for (const line of lines) {
      const { listener, bridge } = context;
      const row = findDirective(line.name);
      if (row === undefined) {
        const meant = nearestDirective(line.name);
        remarks.problem(
          { ...line, name: /^[\w.-]{1,60}$/.test(line.name) ? line.name : quoted(line.name) },
          `unknown directive${meant === undefined ? '' : `; did you mean ${meant}?`}`,
        );
        continue;
      }
      if (line.value === '') {
        remarks.problem(line, 'has no value');
        continue;
      }
      if (row.fate === 'refused') {
        remarks.problem(line, row.note);
        continue;
      }
      if (row.fate === 'unneeded') remarks.warn(line, `has no effect here: ${row.note}`);
      if (line.name === 'listener') {
        context.listener = listenerBlock(line);
        listeners.push(context.listener);
      } else if (line.name === 'connection') {
        context.bridge = new Block(line, remarks);
        bridges.push(context.bridge);
      } else if (row.scope === 'plugin') context.plugin = addPlugin(line, context.plugin, plugins, listener, remarks);
      else if (row.scope === 'bridge') {
        if (bridge === undefined) remarks.problem(line, 'belongs to a bridge, and no connection stands above it');
        else bridge.add(line, row);
      } else if (row.scope === 'listener') listener.block.add(line, row);
      else if (row.scope === 'security')
        (perListener || line.name === 'plugin_use' ? listener.security : security).add(line, row);
      else global.add(line, row);
    }
  }
  return { global, defaultListener, listeners, plugins, bridges, security, perListener };
}

/** Known before the rest, since Mosquitto asks for it to be set first but takes it anywhere. */
function isPerListener(parts: readonly Part[]): boolean {
  const lines = parts.flatMap(({ lines: all }) => all).filter(({ name }) => name === 'per_listener_settings');
  return /^(true|1)$/.test(lines.at(-1)?.value ?? '');
}

function addPlugin(
  line: Line,
  current: PluginBlock | undefined,
  plugins: PluginBlock[],
  listener: ListenerBlock,
  remarks: Remarks,
): PluginBlock | undefined {
  const option = /^(?:auth|plugin)_opt_(.+)$/.exec(line.name);
  if (option !== null) {
    if (current === undefined) remarks.problem(line, 'belongs to a plugin, and none stands above it');
    else if (current.options.has(option[1]!)) remarks.problem(line, 'is given twice for this plugin');
    else current.options.set(option[1]!, line);
    return current;
  }
  if (line.name === 'auth_plugin_deny_special_chars') {
    if (!/^(true|1)$/.test(line.value))
      remarks.warn(line, 'stays true: a name with + or # fits no pattern of an access list');
    return current;
  }
  const named = line.name === 'plugin_load' ? /^(\S+)\s+(.+)$/.exec(line.value) : undefined;
  if (named === null) {
    remarks.problem(line, 'needs a name and the path of a plugin');
    return undefined;
  }
  const plugin: PluginBlock = {
    path: named?.[2] ?? line.value,
    line,
    global: line.name === 'global_plugin',
    name: named?.[1],
    listener,
    options: new Map(),
  };
  plugins.push(plugin);
  return plugin;
}
