/**
 * A `ByteStream` on one of libuv's stream handles, without `net.Socket` above it.
 *
 * What `net.Socket` adds (two stream state machines, a buffer per read, a request object per write) costs more than an MQTT
 * message does, and several kilobytes an idle connection. So the handle is driven here directly:
 *
 *   - all handles of the process read into one buffer, which is handed up and reused when the call returns;
 *   - a write that the kernel takes at once leaves no object behind;
 *   - nothing is kept per connection but the handle and this small object.
 *
 * The handle's methods are the ones `net` itself uses; they have been the same from Node 20 to 26 (measured, decision 0001).
 */
import { getSystemErrorName } from 'node:util';
import type { ByteSink, ByteStream, PeerAddress } from './byte-stream.js';
import { plainAddress } from './peer-address.js';

const READ_BUFFER_BYTES = 131072;
/** How long a stream that ends waits for its last bytes to be taken and for the peer to end too. */
const LINGER_MS = 2000;
/** What `received` is told when the peer has ended. */
export const UV_EOF = -4095;

export interface StreamHandle {
  onread: (bytes: ArrayBuffer | undefined) => void;
  owningStream: HandleStream | undefined;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: WriteRequest, chunk: Uint8Array): number;
  writev(request: WriteRequest, chunks: Uint8Array[], allBuffers: true): number;
  shutdown(request: object): number;
  close(callback?: () => void): void;
  setNoDelay?(on: boolean): number;
  getpeername?(out: object): number;
  getsockname?(out: object): number;
}

interface WriteRequest {
  oncomplete: ((status: number) => void) | undefined;
  /** Keeps the bytes alive until the kernel has them. */
  chunks: Uint8Array | Uint8Array[] | undefined;
  owningStream: HandleStream | undefined;
}

interface StreamBinding {
  WriteWrap: new () => WriteRequest;
  ShutdownWrap: new () => { oncomplete: (() => void) | undefined };
  streamBaseState: Int32Array;
  kReadBytesOrError: number;
  kLastWriteWasAsync: number;
}

const binding = loadBinding();

/** True when this Node offers the handle interface; tests run both ways. */
export const handlesAvailable = binding !== undefined;

function loadBinding(): StreamBinding | undefined {
  try {
    const load = (process as unknown as { binding?: (name: string) => StreamBinding }).binding;
    const found = load?.call(process, 'stream_wrap');
    if (
      found === undefined ||
      typeof found.WriteWrap !== 'function' ||
      typeof found.ShutdownWrap !== 'function' ||
      !(found.streamBaseState instanceof Int32Array) ||
      typeof found.kReadBytesOrError !== 'number' ||
      typeof found.kLastWriteWasAsync !== 'number'
    )
      return undefined;
    return found;
  } catch {
    return undefined;
  }
}

/** What `received` counts bytes of. */
export const readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
const state = binding?.streamBaseState as Int32Array;
const kReadBytesOrError = binding?.kReadBytesOrError as number;
const kLastWriteWasAsync = binding?.kLastWriteWasAsync as number;
let spareRequest: WriteRequest | undefined;

function onRead(this: StreamHandle): void {
  this.owningStream?.received(state[kReadBytesOrError]!);
}

function onWriteComplete(this: WriteRequest, status: number): void {
  const stream = this.owningStream;
  this.chunks = undefined;
  this.owningStream = undefined;
  stream?.written(status);
}

export class HandleStream implements ByteStream {
  protected sink: ByteSink | undefined;
  protected address: PeerAddress | undefined;
  protected reading = false;
  protected ending = false;
  protected closed = false;
  private writing = false;
  private linger: NodeJS.Timeout | undefined;

  constructor(protected readonly handle: StreamHandle) {
    handle.owningStream = this;
    handle.onread = onRead;
    handle.setNoDelay?.(true);
    handle.useUserBuffer(readBuffer);
  }

  get peer(): PeerAddress {
    this.address ??= readAddresses(this.handle);
    return this.address;
  }

  start(sink: ByteSink): void {
    this.sink = sink;
    this.resume();
  }

  pause(): void {
    if (!this.reading || this.ending || this.closed) return;
    this.reading = false;
    this.handle.readStop();
  }

  resume(): void {
    if (this.reading || this.closed) return;
    this.reading = true;
    const error = this.handle.readStart();
    if (error !== 0) this.fail(error);
  }

  write(chunk: Uint8Array): boolean {
    if (this.closed) return true;
    const request = spareRequest ?? newRequest();
    return this.submitted(this.handle.writeBuffer(request, chunk), request, chunk);
  }

  writeMany(chunks: Uint8Array[]): boolean {
    if (this.closed || chunks.length === 0) return true; // libuv takes no empty vector
    const request = spareRequest ?? newRequest();
    return this.submitted(this.handle.writev(request, chunks, true), request, chunks);
  }

  end(): void {
    if (this.ending || this.closed) return;
    this.ending = true;
    this.linger = setTimeout(() => this.close(undefined), LINGER_MS).unref();
    if (!this.writing) this.shutdown();
  }

  destroy(): void {
    this.close(undefined);
  }

  received(count: number): void {
    if (this.closed) return;
    if (count > 0) {
      // After `end` the peer's bytes are read and dropped: closing with unread input would reset the connection and could
      // take our last packet with it.
      if (!this.ending) this.sink!.onBytes(readBuffer, 0, count);
    } else if (count < 0) this.close(count === UV_EOF ? undefined : systemError(count, 'read'));
  }

  written(status: number): void {
    if (this.closed) return;
    this.writing = false;
    if (status < 0) this.fail(status);
    else if (this.ending) this.shutdown();
    else this.sink!.onWritten();
  }

  protected release(): void {
    this.handle.close();
  }

  private submitted(error: number, request: WriteRequest, chunks: Uint8Array | Uint8Array[]): boolean {
    if (error !== 0) {
      // Reported on a later turn: a caller in the middle of its own work must not find itself closed.
      setImmediate(() => this.fail(error));
      return true;
    }
    if (state[kLastWriteWasAsync] === 0) {
      spareRequest = request;
      return true;
    }
    spareRequest = undefined;
    request.chunks = chunks;
    request.owningStream = this;
    this.writing = true;
    return false;
  }

  private shutdown(): void {
    const request = new binding!.ShutdownWrap();
    request.oncomplete = () => {};
    if (this.handle.shutdown(request) !== 0) {
      this.close(undefined);
      return;
    }
    this.resume(); // so that the peer's end is seen even when reading was paused
  }

  private fail(error: number): void {
    this.close(systemError(error, 'write'));
  }

  protected close(error: Error | undefined): void {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.linger);
    this.address ??= readAddresses(this.handle);
    this.handle.owningStream = undefined;
    this.release();
    const sink = this.sink;
    this.sink = undefined;
    sink?.onClosed(error);
  }
}

function newRequest(): WriteRequest {
  const request = new binding!.WriteWrap();
  request.oncomplete = onWriteComplete;
  request.chunks = undefined;
  request.owningStream = undefined;
  return request;
}

function systemError(code: number, operation: string): Error {
  const name = getSystemErrorName(code);
  return Object.assign(new Error(`${operation} ${name}`), { code: name });
}

function readAddresses(handle: StreamHandle): PeerAddress {
  const remote: { address?: string; port?: number } = {};
  const local: { address?: string; port?: number } = {};
  handle.getpeername?.(remote);
  handle.getsockname?.(local);
  return {
    address: plainAddress(remote.address ?? ''),
    port: remote.port ?? 0,
    localAddress: plainAddress(local.address ?? ''),
    localPort: local.port ?? 0,
  };
}
