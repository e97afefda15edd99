/** Logins as tests make them: a CONNECT, and what comes back. */
import assert from 'node:assert/strict';
import type { Broker, ConfigInput } from '../../src/index.js';
import { PacketType, ReasonCode } from '../../src/protocol/index.js';
import { Scene } from '../support/scene.js';
import type { ConnectOptions, WireClient } from '../support/wire-client.js';

/** Login as user with password; resolves to the reason code of CONNACK, and the client where it is let in. */
export async function login(
  scene: Scene,
  username: string | undefined,
  password?: string,
  more: ConnectOptions = {},
): Promise<{ reasonCode: number; client: WireClient }> {
  const client = await scene.open(5);
  client.sendConnect({
    clientId: `login-${++count}`,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...more,
  });
  const { reasonCode } = await client.packet(PacketType.Connack);
  client.connected = reasonCode === ReasonCode.Success;
  return { reasonCode, client };
}

let count = 0;

/** As `login`, when only the reason code counts. */
export async function loginCode(...given: Parameters<typeof login>): Promise<number> {
  const { reasonCode, client } = await login(...given);
  client.stream.destroy();
  return reasonCode;
}

/** Tries user names with passwords, and expects these reason codes. */
export async function tryLogins(
  scene: Scene,
  attempts: readonly (readonly [username: string, password: string | undefined, expected: number])[],
): Promise<void> {
  for (const [username, password, expected] of attempts)
    assert.equal(await loginCode(scene, username, password), expected, username);
}

export const ok = ReasonCode.Success;
export const badLogin = ReasonCode.BadUserNameOrPassword;
export const notAuthorized = ReasonCode.NotAuthorized;
export const serverUnavailable = ReasonCode.ServerUnavailable;

/** Runs `work` with a broker of these settings, whose listener lets no anonymous client in. */
export async function withBroker(
  config: Omit<ConfigInput, 'listeners'> & { readonly listeners?: ConfigInput['listeners'] },
  work: (scene: Scene) => Promise<void>,
): Promise<void> {
  const scene = new Scene(5, {
    config: {
      listeners: [{ name: 'test', port: 0, allowAnonymous: false }],
      // Wrong passwords are what these tests are about.
      protection: { logins: { failuresMax: 0 } },
      ...config,
    },
  });
  await scene.start();
  try {
    await work(scene);
  } finally {
    await scene.stop();
  }
}

/** The status of one source of the broker. */
export function sourceOf(broker: Broker, name: string) {
  const { authentication, authorization } = broker.status().access;
  return [...authentication, ...authorization].find((source) => source.name === name)!;
}
