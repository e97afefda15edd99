/**
 * Arguments and configuration file of pub, sub and rr become `ToolOptions`, complete and free of contradictions.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type OptionDefinition, optionTable } from './option-table.js';
import { addProperty, propertyValueCount } from './property-argument.js';
import { defaultOptions, type ToolName, type ToolOptions, UsageError } from './tool-options.js';

/** 'help' and 'version' when the arguments ask for those. `file` in the place of the usual configuration file. Throws UsageError. */
export function parseArguments(
  tool: ToolName,
  args: readonly string[],
  file?: string,
): ToolOptions | 'help' | 'version' {
  const options = defaultOptions(tool);
  for (const line of configurationLines(tool, file)) {
    const parsed = applyArguments(options, line);
    if (parsed !== undefined) return parsed;
  }
  // what the file says about the message or a single topic gives way to the command line
  const { source, topics } = options;
  delete options.source;
  if (tool !== 'sub') options.topics = [];
  const parsed = applyArguments(options, args);
  if (parsed !== undefined) return parsed;
  if (options.source === undefined && source !== undefined) options.source = source;
  if (options.topics.length === 0) options.topics = topics;
  complete(options);
  return options;
}

function applyArguments(options: ToolOptions, args: readonly string[]): 'help' | 'version' | undefined {
  let index = 0;
  while (index < args.length) {
    const name = args[index]!;
    index += 1;
    if (name === '--help') return 'help';
    if (name === '--version') return 'version';
    if (name === '-D' || name === '--property') {
      index = applyProperty(options, args, index);
      continue;
    }
    const definition = optionTable.find(({ names, tools }) => names.includes(name) && tools.includes(options.tool));
    if (definition === undefined) throw new UsageError(`Unknown option '${name}'.`);
    if (definition.value === undefined) {
      definition.apply(options, '', name);
      continue;
    }
    definition.apply(options, valueAfter(args, index, name, definition), name);
    index += 1;
  }
  return undefined;
}

function valueAfter(args: readonly string[], index: number, name: string, definition: OptionDefinition): string {
  const value = args[index];
  if (value === undefined) throw new UsageError(`${name} argument given but no ${definition.value} specified.`);
  return value;
}

function applyProperty(options: ToolOptions, args: readonly string[], index: number): number {
  const [command, identifier] = args.slice(index, index + 2);
  const count = propertyValueCount(identifier ?? '');
  const values = args.slice(index + 2, index + 2 + count);
  if (command === undefined || identifier === undefined || values.length < count) {
    throw new UsageError('--property argument given but not enough arguments specified.');
  }
  addProperty(options, command, identifier, values);
  return index + 2 + count;
}

/** How many of the arguments from the first on are options and their values; what follows is not meant for `applyArguments`. */
export function countOptions(tool: ToolName, args: readonly string[]): number {
  let index = 0;
  while (index < args.length && args[index]!.startsWith('-')) {
    const name = args[index]!;
    if (name === '-D' || name === '--property') index += 2 + propertyValueCount(args[index + 2] ?? '');
    else {
      const definition = optionTable.find(({ names, tools }) => names.includes(name) && tools.includes(tool));
      if (definition?.value !== undefined) index += 1;
    }
    index += 1;
  }
  return Math.min(index, args.length);
}

/** Each line is an option and the rest of the line its value; `-D` takes the last of its values to the end of the line. */
function configurationLines(tool: ToolName, file?: string): string[][] {
  const folder = process.env.XDG_CONFIG_HOME || join(process.env.HOME ?? homedir(), '.config');
  let text: string;
  try {
    text = readFileSync(file ?? join(folder, `mosquitto_${tool}`), 'utf8');
  } catch (error) {
    if (file !== undefined)
      throw new UsageError(`The file of options ${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
    return [];
  }
  return text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const name = /^\S+/.exec(line.trimStart())![0];
      const rest = line.trimStart().slice(name.length).trimStart();
      if (rest === '') return [name];
      if (name !== '-D' && name !== '--property') return [name, rest];
      const pattern = /^\S+\s+user-property\s/.test(rest) ? /^(\S+)\s+(\S+)\s+(\S+)\s+(.*)$/ : /^(\S+)\s+(\S+)\s+(.*)$/;
      return [name, ...(pattern.exec(rest)?.slice(1) ?? [rest])];
    });
}

/** Checks what only all options together can tell, and fills in what follows from others. */
function complete(options: ToolOptions): void {
  const { tool, will, tls } = options;
  const needsVersion5 = Object.keys(options.properties).length > 0;
  if (needsVersion5 && options.protocolVersion !== undefined && options.protocolVersion !== 5) {
    throw new UsageError('-D needs MQTT 5.0, and -V asks for an older version.');
  }
  options.protocolVersion ??= needsVersion5 || tool === 'rr' || tool === 'ctrl' ? 5 : 4;
  completeSession(options);
  if (options.password !== undefined && options.username === undefined && options.protocolVersion < 5) {
    throw new UsageError('A password needs a user name (-u) before MQTT 5.0.');
  }
  if (will.topicName === undefined) {
    if (will.payload !== undefined) throw new UsageError('Will payload given, but no will topic given.');
    if (will.retain) throw new UsageError('Will retain given, but no will topic given.');
    if (will.qos !== undefined) throw new UsageError('Will QoS given, but no will topic given.');
    if (options.properties.will !== undefined) throw new UsageError('Will properties given, but no will topic given.');
  }
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new UsageError('Both certfile and keyfile must be provided if one of them is set.');
  }
  completeKey(options);
  completeTool(options);
}

function completeSession(options: ToolOptions): void {
  if (options.clientId !== undefined && options.clientIdPrefix !== undefined) {
    throw new UsageError('-i and -I argument cannot be used together.');
  }
  // an identifier made of a process id never comes back to its session
  const named = options.clientId !== undefined;
  if (options.protocolVersion === 5) {
    if (options.keepSession) options.sessionExpiryInterval ??= 0xffff_ffff;
    if (options.sessionExpiryInterval === 0xffff_ffff && !named) {
      throw new UsageError('You must provide a client id if you are using an infinite session expiry interval.');
    }
  } else if (options.keepSession && !named) {
    throw new UsageError('You must provide a client id if you are using the -c option.');
  }
}

function completeKey({ tls }: ToolOptions): void {
  if (tls.psk === undefined && tls.pskIdentity === undefined) return;
  if (tls.psk === undefined) throw new UsageError('--psk required if --psk-identity used.');
  if (tls.pskIdentity === undefined) throw new UsageError('--psk-identity required if --psk used.');
  if (tls.cafile !== undefined || tls.capath !== undefined) {
    throw new UsageError('Only one of --psk or --cafile/--capath may be used at once.');
  }
}

function completeTool(options: ToolOptions): void {
  const [topic] = options.topics;
  switch (options.tool) {
    case 'pub':
      if (topic === undefined || options.source === undefined)
        throw new UsageError('Both topic and message must be supplied.');
      if (options.source.kind === 'lines' && options.repeatCount > 1)
        throw new UsageError('--repeat cannot be used with -l.');
      break;
    case 'rr':
      if (topic === undefined || options.source === undefined || options.responseTopic === undefined) {
        throw new UsageError('All of topic, message, and response topic must be supplied.');
      }
      if (options.properties.publish?.responseTopic !== undefined) {
        throw new UsageError('The response topic is given with -e, not with -D publish response-topic.');
      }
      break;
    case 'ctrl':
      break;
    case 'sub':
      if (topic === undefined) throw new UsageError('You must specify a topic to subscribe to.');
      if (options.noRetained && options.retainedOnly)
        throw new UsageError("Combining '-R' and '--retained-only' makes no sense.");
      break;
  }
}

/** What is given and has no effect, one sentence each, for standard error. */
export function warningsOf(options: ToolOptions): string[] {
  const warnings: string[] = [];
  if (options.protocolVersion !== 5) {
    if (options.sessionExpiryInterval !== undefined) warnings.push('-x has no effect before MQTT 5.0 (-V 5).');
    if (options.retainAsPublished) warnings.push('--retain-as-published has no effect before MQTT 5.0 (-V 5).');
  }
  return warnings;
}
