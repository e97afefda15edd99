/** Other brokers with MQTT, as the remote of a bridge. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { find, folderFor, freePort, missing, running, type Server } from '../support/real-server.js';

const TESTS = 'bridges to other brokers';

/** NATS with JetStream and MQTT 3.1.1. */
export async function startNats(): Promise<Server | undefined> {
  const program = find('nats-server');
  if (program === undefined) return missing(TESTS, 'nats-server');
  const [port, clientPort] = [await freePort(), await freePort()];
  const folder = folderFor('nats', {});
  const config = join(folder, 'nats.conf');
  writeFileSync(
    config,
    [
      'server_name: remote',
      `listen: "127.0.0.1:${clientPort}"`,
      `jetstream { store_dir: "${folder}/store" }`,
      `mqtt { listen: "127.0.0.1:${port}" }`,
    ].join('\n'),
  );
  return running(program, ['-c', config], {}, port, folder);
}

/** RabbitMQ with its MQTT plugin, where everybody is let in. */
export async function startRabbitmq(): Promise<Server | undefined> {
  // Debian's own command insists on a system user and on folders of the system.
  const program = find('rabbitmq-server', ['/usr/lib/rabbitmq/bin']);
  const mapper = find('epmd');
  if (program === undefined || mapper === undefined) return missing(TESTS, 'rabbitmq-server');
  const [port, amqpPort, nodePort, mapperPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const folder = folderFor('rabbitmq', {});
  writeFileSync(join(folder, 'env'), '');
  writeFileSync(join(folder, 'plugins'), '[rabbitmq_mqtt].\n');
  writeFileSync(
    join(folder, 'rabbitmq.conf'),
    ['listeners.tcp = none', `mqtt.listeners.tcp.1 = 127.0.0.1:${port}`, 'mqtt.allow_anonymous = true', ''].join('\n'),
  );
  // Erlang would leave a port mapper running behind it, so it finds one of this test.
  const names: ChildProcess = spawn(mapper, ['-address', '127.0.0.1', '-port', String(mapperPort)], {
    stdio: 'ignore',
  });
  const stopNames = async (): Promise<void> => {
    if (names.exitCode !== null || names.signalCode !== null) return;
    const gone = once(names, 'exit');
    names.kill('SIGKILL');
    await gone;
  };
  const env = {
    ...process.env,
    HOME: folder,
    RABBITMQ_NODENAME: `dunlin${port}@localhost`,
    RABBITMQ_NODE_PORT: String(amqpPort),
    RABBITMQ_DIST_PORT: String(nodePort),
    ERL_EPMD_PORT: String(mapperPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'env'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
  };
  try {
    const server = await running(program, [], { env, cwd: folder, detached: true }, port, folder);
    return {
      ...server,
      stop: async () => {
        await server.stop();
        await stopNames();
      },
    };
  } catch (error) {
    await stopNames();
    throw error;
  }
}
