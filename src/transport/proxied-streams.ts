/** Streams of a listener behind a PROXY protocol proxy, from their accept until their header was read: what `Arrivals` is for sockets. */
import type { AcceptStream, Admit, ByteStream } from './byte-stream.js';
import { acceptProxied, type ProxyOptions } from './proxy-protocol.js';

export class ProxiedStreams {
  private readonly waiting = new Set<ByteStream>();

  constructor(
    private readonly options: ProxyOptions,
    private readonly admit: Admit | undefined,
    private readonly onStream: AcceptStream,
  ) {}

  take(stream: ByteStream): void {
    const { admit, waiting } = this;
    const place = admit?.(stream.peer);
    if (admit !== undefined && place === undefined) return stream.destroy();
    waiting.add(stream);
    const gone = () => {
      waiting.delete(stream);
      place?.release();
    };
    acceptProxied(
      stream,
      this.options,
      (proxied) => {
        waiting.delete(stream);
        if (place?.identify(proxied.peer) === false) proxied.destroy();
        else this.onStream(proxied, place);
      },
      gone,
    );
  }

  /** Called when the listener stops accepting: those not handed up are closed. */
  close(): void {
    for (const stream of [...this.waiting]) stream.destroy();
  }
}
