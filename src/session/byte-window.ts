/** Payload bytes on their way to one client, where those are limited (`limits.inflightBytesMax`). */
export class ByteWindow {
  private bytes = 0;
  private readonly sizes = new Map<number, number>();

  sent(packetId: number, bytes: number): void {
    this.sizes.set(packetId, bytes);
    this.bytes += bytes;
  }

  done(packetId: number): void {
    this.bytes -= this.sizes.get(packetId) ?? 0;
    this.sizes.delete(packetId);
  }

  /** Whether another message has to wait. One may be on its way however large it is. */
  full(bytesMax: number): boolean {
    return bytesMax > 0 && this.sizes.size > 0 && this.bytes >= bytesMax;
  }
}
