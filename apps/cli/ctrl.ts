/**
 * `dunlin ctrl`: administers a broker over MQTT, with the options and modules of mosquitto_ctrl.
 *
 * Returns  0 done, 1 the broker or the connection refused (or the code of the refusal), 3 wrong arguments, 13 no such command.
 */
import { connectOptions } from './client-tool/connect-options.js';
import { reportFailure } from './client-tool/failure-text.js';
import { helpText } from './client-tool/help-text.js';
import { countOptions, parseArguments, warningsOf } from './client-tool/parse-arguments.js';
import { type ToolOptions, UsageError } from './client-tool/tool-options.js';
import { dynsecHelp, findDynsecCommand, initialise } from './ctrl-dynsec.js';
import { sendCommand } from './ctrl-request.js';
import { Interrupted, SecretInput } from './hidden-line.js';

export const ctrlExitCodes = { ok: 0, failed: 1, wrongArguments: 3, unknownCommand: 13 } as const;

export async function runCtrl(args: string[]): Promise<number> {
  const secrets = new SecretInput();
  try {
    return await run(args, secrets);
  } catch (error) {
    if (error instanceof Interrupted) return ctrlExitCodes.failed;
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`Error: ${error.message}\n`);
    return ctrlExitCodes.wrongArguments;
  } finally {
    secrets.end();
  }
}

async function run(args: readonly string[], secrets: SecretInput): Promise<number> {
  const { file, rest } = takeFile(args);
  const count = countOptions('ctrl', rest);
  const [module, command, ...commandArguments] = rest.slice(count);
  const options = parseArguments('ctrl', rest.slice(0, count), file);
  if (options === 'help' || (options !== 'version' && (module === undefined || module === 'help'))) {
    process.stdout.write(helpText('ctrl'));
    return options === 'help' || module === 'help' ? ctrlExitCodes.ok : ctrlExitCodes.failed;
  }
  if (options === 'version') throw new UsageError('dunlin --version tells the version.');
  if (module !== 'dynsec') throw new UsageError(`There is no module ${JSON.stringify(module)}; there is dynsec.`);
  const helped = command === 'help' || command === '--help';
  if (command === undefined || helped) {
    process.stdout.write(dynsecHelp());
    return helped ? ctrlExitCodes.ok : ctrlExitCodes.failed;
  }
  if (command === 'init') return initialise(commandArguments, secrets);
  const definition = findDynsecCommand(command);
  if (definition === undefined) {
    process.stderr.write(`Command ${JSON.stringify(command)} is not known; see dunlin ctrl dynsec help\n`);
    return ctrlExitCodes.unknownCommand;
  }
  const request = await definition.request(commandArguments, secrets);
  if (request === undefined) throw new UsageError(`Usage: dunlin ctrl dynsec ${command} ${definition.usage}`);
  warn(options);
  if (options.username !== undefined && options.password === undefined && options.tls.cert === undefined) {
    const password = await secrets.ask(`Password for ${options.username}: `);
    if (password === undefined || password === '')
      throw new UsageError('A password is needed; the one given is empty.');
    options.password = password;
  }
  try {
    const connection = await connectOptions(options);
    return await sendCommand(options, connection, { command, ...request }, definition.print);
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error;
    const { text, exitCode } = reportFailure(error, options.host ?? 'localhost', options.protocolVersion ?? 5);
    if (!options.quiet) process.stderr.write(`${text}\n`);
    return exitCode;
  }
}

/** `-o FILE`, which counts before all other options. */
function takeFile(args: readonly string[]): { file: string | undefined; rest: readonly string[] } {
  const at = args.indexOf('-o');
  // Behind the module it is an argument of the command.
  if (at < 0 || countOptions('ctrl', args.slice(0, at)) < at) return { file: undefined, rest: args };
  const file = args[at + 1];
  if (file === undefined) throw new UsageError('-o argument given but no FILE specified.');
  return { file, rest: [...args.slice(0, at), ...args.slice(at + 2)] };
}

const isThisMachine = (host: string) => host === 'localhost' || host === '::1' || host.startsWith('127.');

function warn(options: ToolOptions): void {
  if (options.quiet) return;
  for (const warning of warningsOf(options)) process.stderr.write(`Warning: ${warning}\n`);
  const { tls, unixPath, host = 'localhost', port } = options;
  const secure =
    tls.wanted ||
    port === 8883 ||
    [tls.cafile, tls.capath, tls.psk].some((value) => value !== undefined) ||
    tls.systemCertificates;
  if (!secure && unixPath === undefined && !isThisMachine(host))
    process.stderr.write(
      'Warning: The connection is not encrypted: whoever is on the way can read commands and passwords.\n',
    );
}
