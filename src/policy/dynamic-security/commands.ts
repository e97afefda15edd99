/**
 * One message of commands, answered one by one:
 *
 *   {"commands": [{"command": …, "correlationData": …, …}, …]}
 *   {"responses": [{"command": …, "error" or "data": …, "correlationData": …}, …]}
 *
 * A command that is refused changes nothing, and the ones behind it are still carried out.
 */
import { type CommandContext, CommandError, Fields, type Handler } from './command.js';
import { fieldOf, isObject, textOf } from './fields.js';
import { groupCommands } from './group-commands.js';
import { roleCommands } from './role-commands.js';
import { userCommands } from './user-commands.js';

const handlers = new Map<string, Handler>(Object.entries({ ...userCommands, ...groupCommands, ...roleCommands }));

/** What is beyond is refused as a whole: hashing so many passwords takes minutes. */
const COMMANDS_MAX = 10_000;

export interface CommandResponse {
  readonly command: string;
  readonly error?: string;
  readonly data?: Record<string, unknown>;
  readonly correlationData?: string;
}

/** What was done, for the log; no secrets. */
export interface Done {
  readonly command: string;
  readonly names: Readonly<Record<string, string>>;
}

export interface Answered {
  readonly responses: CommandResponse[];
  readonly done: readonly Done[];
  /** Where in `responses` the first stands that is not true unless the draft is saved; the length when there is none. */
  readonly unsavedFrom: number;
}

const UNKNOWN = 'Unknown command';
const refusal = (error: string): Answered => ({ responses: [{ command: UNKNOWN, error }], done: [], unsavedFrom: 1 });

/** `internalError` is told what no command should throw. */
export async function answerCommands(
  payload: Uint8Array,
  context: CommandContext,
  internalError: (command: string, error: unknown) => void,
): Promise<Answered> {
  const tree = parse(payload);
  if (tree === undefined) return refusal('Payload not valid JSON');
  const commands = isObject(tree) ? fieldOf(tree, 'commands') : undefined;
  if (!Array.isArray(commands)) return refusal('Invalid/missing commands');
  if (commands.length > COMMANDS_MAX) return refusal(`More than ${COMMANDS_MAX} commands`);
  const responses: CommandResponse[] = [];
  const done: Done[] = [];
  let unsavedFrom = Number.POSITIVE_INFINITY;
  for (const entry of commands) {
    const { response, names } = await answer(entry, context, internalError);
    if (context.draft.changed) unsavedFrom = Math.min(unsavedFrom, responses.length);
    responses.push(response);
    if (response.error === undefined) done.push({ command: response.command, names });
  }
  return { responses, done, unsavedFrom: Math.min(unsavedFrom, responses.length) };
}

function parse(payload: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)) as unknown;
  } catch {
    return undefined;
  }
}

async function answer(
  entry: unknown,
  context: CommandContext,
  internalError: (command: string, error: unknown) => void,
): Promise<{ response: CommandResponse; names: Record<string, string> }> {
  if (!isObject(entry)) return { response: { command: UNKNOWN, error: 'Command not an object' }, names: {} };
  const command = textOf(entry, 'command');
  if (command === undefined) return { response: { command: UNKNOWN, error: 'Missing command' }, names: {} };
  const correlation = fieldOf(entry, 'correlationData');
  if (correlation !== undefined && typeof correlation !== 'string')
    return { response: { command, error: 'Invalid correlationData data type.' }, names: {} };
  const correlationData = correlation === undefined ? {} : { correlationData: correlation };
  const handler = handlers.get(command);
  if (handler === undefined) return { response: { command, error: UNKNOWN, ...correlationData }, names: {} };
  try {
    const data = await handler(new Fields(entry), context);
    return {
      response: { command, ...(data === undefined ? {} : { data }), ...correlationData },
      names: namesIn(entry),
    };
  } catch (error) {
    if (!(error instanceof CommandError)) internalError(command, error);
    const text = error instanceof CommandError ? error.message : 'Internal error';
    return { response: { command, error: text, ...correlationData }, names: {} };
  }
}

function namesIn(entry: Readonly<Record<string, unknown>>): Record<string, string> {
  const names: Record<string, string> = {};
  for (const field of ['username', 'clientid', 'groupname', 'rolename', 'acltype', 'topic']) {
    const value = textOf(entry, field);
    if (value !== undefined) names[field] = value;
  }
  return names;
}
