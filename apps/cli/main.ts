/**
 * The command `dunlin`: finds the sub-command and hands it the rest of the arguments. Without one it is the broker.
 *
 * Returns  the exit code: 0 done, 1 the world refused (port in use), 2 the caller is wrong (arguments, configuration).
 */
import { setDefaultAutoSelectFamilyAttemptTimeout } from 'node:net';
import { packageVersion } from './package-version.js';
import { serve } from './serve.js';

const help = `dunlin: MQTT broker for 3.1, 3.1.1 and 5.0

Usage: dunlin [-c FILE] [-p PORT] [-v | -q] [-d]    runs the broker
       dunlin pub | sub | rr | bench [OPTIONS]      clients; --help after each tells more
       dunlin storage stat | check | backup | restore   the data folder; --help tells more
       dunlin passwd [OPTIONS] FILE USERNAME        password files; --help tells more
       dunlin ctrl [OPTIONS] dynsec COMMAND         users, groups and roles of a running broker; --help tells more
       dunlin ca COMMAND [OPTIONS]                  the built-in certificate authority; --help tells more
       dunlin config check FILE                     names every problem of a configuration file
       dunlin config convert FILE [-o FILE]         writes a mosquitto.conf as a dunlin.yaml
       dunlin config reference                      prints all settings

  -c, --config-file FILE  configuration, dunlin.yaml or mosquitto.conf; without it ./dunlin.yaml when there is one, else built-in defaults
  -p, --port PORT         listens on this port of 127.0.0.1, anonymous clients allowed; adds to the listeners of -c,
                          without -c it is the only one; may be repeated
  -v, --verbose           logs at level debug
  -q, --quiet             logs nothing
  -d, --daemon            runs in the background once the listeners are open
      --test-config       checks the configuration and exits
  -h, --help              this text
      --version           prints the version
`;

type Command = (args: string[]) => Promise<number>;

// Loaded when asked for: the broker starts without reading the clients.
const commands: Record<string, () => Promise<Command>> = {
  pub: async () => (await import('./pub.js')).runPub,
  sub: async () => (await import('./sub.js')).runSub,
  rr: async () => (await import('./rr.js')).runRr,
  bench: async () => (await import('./bench.js')).runBench,
  config: async () => (await import('./config.js')).runConfig,
  ca: async () => (await import('./ca.js')).runCa,
  ctrl: async () => (await import('./ctrl.js')).runCtrl,
  passwd: async () => (await import('./passwd.js')).runPasswd,
  storage: async () => (await import('./storage.js')).runStorage,
};

/** How long one of several addresses of a host is tried, milliseconds, for what the broker asks elsewhere; src/client/dial.ts says why. */
const ADDRESS_PATIENCE_MS = 3000;

export async function main(args: string[]): Promise<number> {
  setDefaultAutoSelectFamilyAttemptTimeout(ADDRESS_PATIENCE_MS);
  // Nobody reads any more (`| head`): what is left to say is dropped, and the command ends as it would have.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  const [first = ''] = args;
  const forBroker = first === '' || first.startsWith('-');
  if (first === 'help' || (forBroker && (args.includes('-h') || args.includes('--help')))) {
    process.stdout.write(help);
    return 0;
  }
  if (forBroker && args.includes('--version')) {
    process.stdout.write(`dunlin ${packageVersion()}\n`);
    return 0;
  }
  if (forBroker) return serve(args);
  if (!Object.hasOwn(commands, first)) {
    process.stderr.write(
      `dunlin: unknown command ${JSON.stringify(first)}; there are ${Object.keys(commands).join(', ')}; see dunlin --help\n`,
    );
    return 2;
  }
  const command = await commands[first]!();
  return command(args.slice(1));
}
