/** Packet Identifiers of one client: 1 to 65535, each used by one request or message at a time [MQTT-2.2.1-3]. */
export class PacketIds {
  private readonly used = new Set<number>();
  private last = 0;

  /** Undefined when all 65535 are in use. */
  take(): number | undefined {
    if (this.used.size === 0xffff) return undefined;
    do this.last = this.last === 0xffff ? 1 : this.last + 1;
    while (this.used.has(this.last));
    this.used.add(this.last);
    return this.last;
  }

  release(packetId: number): void {
    this.used.delete(packetId);
  }
}
