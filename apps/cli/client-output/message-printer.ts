/**
 * Writes messages to standard output: plain, `topic payload`, or by a format.
 */
import { type PrintedMessage, type PrintTime, parseFormat } from './message-format.js';

export interface PrinterOptions {
  format: string | undefined;
  verbose: boolean;
  pretty: boolean;
  /** ends each message with a line feed */
  lineFeed: boolean;
  quiet: boolean;
}

/** Text of one message, as bytes. Throws FormatError for a format that is none. */
export function messagePrinter(options: PrinterOptions): (message: PrintedMessage) => Buffer {
  const end = options.lineFeed ? '\n' : '';
  if (options.format !== undefined) {
    const badJson = (topicName: string) => {
      if (!options.quiet) process.stderr.write(`Error: Message payload is not valid JSON on topic ${topicName}.\n`);
    };
    const step = parseFormat(options.format, options.pretty, badJson);
    return (message) => Buffer.from(step(message, now()) + end, 'latin1');
  }
  return ({ topicName, payload }) => {
    if (options.verbose) {
      const tail =
        payload.length === 0 ? [Buffer.from(options.lineFeed ? '(null)\n' : '')] : [payload, Buffer.from(end)];
      if (payload.length === 0 && !options.lineFeed) return Buffer.alloc(0);
      return Buffer.concat([Buffer.from(`${topicName} `), ...tail]);
    }
    return payload.length === 0 ? Buffer.alloc(0) : Buffer.concat([payload, Buffer.from(end)]);
  };
}

/** The wall clock with the finer digits of the monotonic one. */
function now(): PrintTime {
  const milliseconds = performance.timeOrigin + performance.now();
  const seconds = Math.floor(milliseconds / 1000);
  return {
    date: new Date(Math.floor(milliseconds)),
    nanoseconds: Math.min(999_999_999, Math.max(0, Math.floor((milliseconds - seconds * 1000) * 1e6))),
  };
}

/** Beyond so many bytes that no reader has taken, the output is full. */
const FULL_BYTES = 1_048_576;

/** Standard output in one write a turn, and a promise for the end of the last. */
export class Output {
  private chunks: Uint8Array[] = [];
  private planned = false;
  private bytesWaiting = 0;
  private full = false;
  private waiting = 0;
  private idle: (() => void)[] = [];
  /** Nobody reads any more (`| head`). */
  closed = false;

  /** `onFull` is told when nothing more should be written for now, and when it should again. */
  constructor(
    private readonly onClosed: () => void,
    private readonly onFull: (full: boolean) => void = () => {},
  ) {
    process.stdout.on('error', this.onError);
  }

  write(chunk: Uint8Array | string): void {
    if (this.closed) return;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    this.chunks.push(bytes);
    this.bytesWaiting += bytes.length;
    if (!this.full && this.bytesWaiting > FULL_BYTES) {
      this.full = true;
      this.onFull(true);
    }
    if (this.planned) return;
    this.planned = true;
    setImmediate(() => this.flush());
  }

  /** Resolves when everything was handed on. */
  async finish(): Promise<void> {
    this.flush();
    if (this.waiting > 0) await new Promise<void>((resolve) => this.idle.push(resolve));
    process.stdout.off('error', this.onError);
  }

  private flush(): void {
    this.planned = false;
    if (this.chunks.length === 0) return;
    const bytes = Buffer.concat(this.chunks);
    this.chunks = [];
    this.waiting += 1;
    process.stdout.write(bytes, () => {
      this.bytesWaiting -= bytes.length;
      if (this.full && this.bytesWaiting <= FULL_BYTES) {
        this.full = false;
        this.onFull(false);
      }
      this.waiting -= 1;
      if (this.waiting > 0) return;
      for (const resolve of this.idle) resolve();
      this.idle = [];
    });
  }

  private readonly onError = () => {
    if (this.closed) return;
    this.closed = true;
    this.onClosed();
  };
}
