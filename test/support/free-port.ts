/**
 * Ports for servers that cannot be told to choose one themselves.
 *
 * They lie below those that the system gives to sockets which do not ask for one: a port of that kind, free a moment ago, may be the
 * next one that a test running beside this one is given, and a dial to it may even find itself. Processes that run at the same time
 * begin at different places, and one process hands out each port once.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const FIRST = 15_000;
/** Where Linux begins unless it is told otherwise. */
const USUAL_END = 32_768;
/** Ports between the beginnings of two processes whose numbers follow each other. */
const STRIDE = 61;
/** With fewer than these to choose from, those of the system are the better choice. */
const ENOUGH = 2000;

const end = endOfOurs();
const count = end - FIRST;
let next = (process.pid * STRIDE) % Math.max(count, 1);

/** A port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  if (count < ENOUGH) return (await bound(0))!;
  for (let tried = 0; tried < count; tried++) {
    const port = FIRST + next;
    next = (next + 1) % count;
    if ((await bound(port)) !== undefined) return port;
  }
  throw new Error(`no port from ${FIRST} to ${end - 1} is free`);
}

/** Listens for a moment; the port, or undefined when it is taken. */
function bound(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(undefined);
      else reject(error);
    });
    // On every address: a server that listens on all of them keeps the port from one on loopback, and the other way round.
    server.listen(port, '0.0.0.0', () => {
      const { port: given } = server.address() as { port: number };
      server.close(() => resolve(given));
    });
  });
}

function endOfOurs(): number {
  try {
    const [first] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/).map(Number);
    return Math.min(first!, USUAL_END);
  } catch {
    return USUAL_END;
  }
}
