import { readFileSync } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import type { MessageSource } from './tool-options.js';

const payloadBytesMax = 268_435_455;

/** The payload of a single message. */
export async function readPayload(source: Exclude<MessageSource, { kind: 'lines' }>): Promise<Buffer> {
  switch (source.kind) {
    case 'text':
      return Buffer.from(source.text);
    case 'empty':
      return Buffer.alloc(0);
    case 'file':
      return checked(readFile(source.path), `file "${source.path}"`);
    case 'standardInput':
      return checked(await readStandardInput(), 'standard input');
  }
}

function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`Unable to open file "${path}" (${(error as NodeJS.ErrnoException).code}).`);
  }
}

async function readStandardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  if (bytes.length === 0) throw new Error('Zero length input.');
  return bytes;
}

function checked(bytes: Buffer, what: string): Buffer {
  if (bytes.length <= payloadBytesMax) return bytes;
  throw new Error(`The ${what} is too large, ${bytes.length} bytes of the ${payloadBytesMax} that MQTT can carry.`);
}

/**
 * The lines of standard input as they come, without their line feed; the last one need not have any.
 * Errors  AbortError once `ended` is aborted: nothing more is read, and an input that stays open does not keep the process.
 */
export async function* standardInputLines(ended: AbortSignal): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const data of addAbortSignal(ended, process.stdin)) {
    const chunk = data as Buffer;
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const line = chunk.subarray(start, end);
      yield rest.length === 0 ? line : Buffer.concat([...rest, line]);
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
  if (rest.length > 0) yield Buffer.concat(rest);
}
