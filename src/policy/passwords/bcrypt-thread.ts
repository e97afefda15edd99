/**
 * bcrypt in a thread of its own, since its implementation is JavaScript and would block the event loop for a tenth of a second.
 * The thread starts with the first password and keeps nothing alive.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

interface Asked {
  readonly id: number;
  readonly password: Uint8Array;
  readonly hash: string;
}

let worker: Worker | undefined;
let asked = 0;
const waiting = new Map<number, { resolve: (equal: boolean) => void; reject: (error: Error) => void }>();

export function compareBcrypt(password: Uint8Array, hash: string): Promise<boolean> {
  worker ??= start();
  const id = ++asked;
  const answer = new Promise<boolean>((resolve, reject) => waiting.set(id, { resolve, reject }));
  worker.ref();
  worker.postMessage({ id, password: Uint8Array.from(password), hash } satisfies Asked);
  return answer;
}

function start(): Worker {
  const started = new Worker(new URL('./bcrypt-thread.js', import.meta.url), { workerData: 'dunlin-bcrypt' });
  started.unref();
  started.on('message', ({ id, equal }: { id: number; equal: boolean }) => {
    waiting.get(id)?.resolve(equal);
    waiting.delete(id);
    if (waiting.size === 0) started.unref();
  });
  started.on('error', (error) => {
    worker = undefined;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  });
  return started;
}

// Not awaited: a module that waits for something cannot be had with `require`, nor can whatever imports it. Messages wait for their listener.
if (!isMainThread && workerData === 'dunlin-bcrypt')
  import('bcryptjs').then(({ default: { compareSync } }) =>
    parentPort!.on('message', ({ id, password, hash }: Asked) => {
      // bcrypt has always taken text, cut after 72 bytes.
      const equal = compareSync(Buffer.from(password).toString(), hash);
      parentPort!.postMessage({ id, equal });
    }),
  );
