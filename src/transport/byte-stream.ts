/**
 * The seam between connections and any transport (TCP, Unix socket, TLS, WebSocket, later a native one).
 *
 * Shape    Bytes come in as ranges of a buffer that belongs to the transport and is good only during the call: whoever
 *          wants to keep them copies them. Bytes go out as one write at a time per stream.
 * Refuses  to know packets, sessions or limits.
 */
export interface ByteStream {
  /** Who is at the other end; a PROXY protocol header or a trusted forwarding header may have set it. */
  readonly peer: PeerAddress;

  /** What TLS agreed on; absent where there is none. */
  readonly security?: StreamSecurity | undefined;
  /** The Cookie header of the WebSocket upgrade; absent where there was none. */
  readonly cookieHeader?: string | undefined;

  /** The write under way has not been offered to the peer yet: that it takes long says nothing about the peer. */
  readonly preparing?: boolean;

  /** Compresses what comes in from now on, and what goes out after so many bytes; absent where nobody may ask for it. */
  compress?(plainBytes: number, early?: Uint8Array): void;

  /** Begins reading. Called once; before it nothing is handed to anyone. */
  start(sink: ByteSink): void;

  /**
   * Hands bytes to the kernel.
   *
   * Returns true when all of them were taken, so the buffer can be used again at once. Returns false when the stream keeps
   * `chunks` until `sink.onWritten`; until then no other write may be made and the bytes must not change.
   * Errors end in `sink.onClosed`, never in a throw.
   */
  write(chunk: Uint8Array): boolean;

  /** As `write`, for several buffers in order. */
  writeMany(chunks: Uint8Array[]): boolean;

  /** Stops reading until `resume`, so that the peer feels back-pressure. Both may be called repeatedly. */
  pause(): void;
  resume(): void;

  /** Sends what was written, then closes. `sink.onClosed` follows. */
  end(): void;

  /** Closes at once; unsent bytes are lost. `sink.onClosed` follows unless it already came. */
  destroy(): void;
}

export interface ByteSink {
  /** `bytes[start..end)` arrived. Valid only during the call. */
  onBytes(bytes: Buffer, start: number, end: number): void;
  /** The write that returned false is complete. */
  onWritten(): void;
  /** The stream is gone, once. `error` is undefined when the peer closed in order. */
  onClosed(error?: Error): void;
}

export interface StreamSecurity {
  /** as OpenSSL names it, such as `TLSv1.3` */
  readonly version: string;
  /** standard name of the cipher suite */
  readonly cipher: string;
  /** The server name that the client asked for. */
  readonly serverName: string | undefined;
  /** The certificate that the client showed, as DER, and whether its chain was verified. */
  readonly certificate: { readonly der: Buffer; readonly trusted: boolean } | undefined;
  readonly pskIdentity: string | undefined;
}

export interface PeerAddress {
  /** IPv4 or IPv6 literal without zone; empty for a Unix socket */
  readonly address: string;
  readonly port: number;
  readonly localAddress: string;
  readonly localPort: number;
}

/** What a socket holds of its listener, from its accept until it is closed. */
export interface Place {
  /** Judges the client by its address, when it is known. False gives the place back: the socket is to be closed. */
  identify(peer: PeerAddress): boolean;
  /** The socket is closed, or as good as that. Being called again changes nothing. */
  release(): void;
}

/** Asked about each socket that comes, with the address of its other end, be it a proxy's; undefined closes it. */
export type Admit = (peer: PeerAddress) => Place | undefined;

/** What a listener hands up: one accepted stream, with its place where `Admit` was asked and the client identified. */
export type AcceptStream = (stream: ByteStream, place?: Place) => void;

/** A bound listening endpoint. */
export interface Listener {
  readonly name: string;
  /** What it is bound to; the real port where 0 was asked for. `path` for a Unix socket. */
  readonly bound: { readonly address: string; readonly port: number } | { readonly path: string };
  /** Stops accepting. Streams already handed up live on. */
  close(): Promise<void>;
}
