// Logins at a steady rate, each on a connection of its own that is closed after its CONNACK.

import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeConnect } from '../../apps/cli/load/index.js';
import { median } from '../figures.js';

export interface Credentials {
  username: string;
  password: string;
}

export interface Attempts {
  made: number;
  accepted: number;
  refused: number;
  /** Connections that ended without CONNACK. */
  unanswered: number;
  /** From dialling to CONNACK, milliseconds. */
  p50: number;
  p99: number;
}

/** So many that have no answer yet; the rate falls behind when the broker does. */
const WAITING_MAX = 2000;
const CONNACK_BYTES = 4;
const ANSWER_SECONDS_MAX = 60;

/** @param credentials  of the attempt with this number; undefined when there are no more. */
export async function logIn(
  port: number,
  rate: number,
  seconds: number,
  credentials: (number: number) => Credentials | undefined,
): Promise<Attempts> {
  const found = { made: 0, accepted: 0, refused: 0, unanswered: 0 };
  const times: number[] = [];
  const waiting = new Set<Promise<void>>();
  const start = performance.now();
  const attempt = async (number: number, given: Credentials): Promise<void> => {
    const dialled = performance.now();
    const code = await answerTo(port, `login-${number}`, given);
    if (code === undefined) found.unanswered++;
    else {
      times.push(performance.now() - dialled);
      if (code === 0) found.accepted++;
      else found.refused++;
    }
  };
  for (let elapsed = 0; elapsed < seconds * 1000; elapsed = performance.now() - start) {
    while (found.made < (elapsed / 1000) * rate && waiting.size < WAITING_MAX) {
      const given = credentials(found.made);
      if (given === undefined) break;
      const one = attempt(found.made++, given).finally(() => waiting.delete(one));
      waiting.add(one);
    }
    await sleep(1);
  }
  await Promise.all(waiting);
  times.sort((a, b) => a - b);
  return { ...found, p50: median(times), p99: times[Math.floor(times.length * 0.99)] ?? Number.NaN };
}

/** The return code of CONNACK; undefined when the connection ended without one. */
async function answerTo(port: number, clientId: string, credentials: Credentials): Promise<number | undefined> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  try {
    socket.setTimeout(ANSWER_SECONDS_MAX * 1000, () => socket.destroy());
    await once(socket, 'connect');
    socket.write(encodeConnect({ level: 4, clientId, cleanStart: true, keepAlive: 60, ...credentials }));
    const answer = Buffer.from((await once(socket, 'data'))[0] as Uint8Array);
    return answer.length >= CONNACK_BYTES ? answer[CONNACK_BYTES - 1] : undefined;
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}
