/** Which streams become connections, whichever door they came through, and how many there are. */
import { type Limits, type Logger, LogLevel } from '../base/index.js';
import type { Config } from '../config/index.js';
import { Connection, type ConnectionContext, type ListenerOptions } from '../connection/index.js';
import type { BrokerMetrics } from '../metrics/index.js';
import { type ByteStream, CompressibleStream, peerName } from '../transport/index.js';
import type { Guard } from './guard.js';

export interface AdmissionHost {
  readonly config: Config;
  readonly context: ConnectionContext;
  readonly connections: Set<Connection>;
  readonly limits: Limits;
  readonly guard: Guard;
  readonly metrics: BrokerMetrics;
  readonly log: Logger;
  /** Nobody is let in before the broker runs, nor when it has stopped. */
  running(): boolean;
}

export class Admission {
  constructor(private readonly host: AdmissionHost) {}

  /** @param count of the connections of the listener. */
  accept(stream: ByteStream, listener: ListenerOptions, count: { connections: number }): void {
    const { host } = this;
    const { connections, metrics, guard } = host;
    const running = host.running();
    const full = count.connections >= listener.connectionsMax || connections.size >= host.limits.connectionsMax;
    const reason = full ? 'as many connections are open as may be' : running ? this.whyNot(stream) : undefined;
    if (reason !== undefined || !running) {
      metrics.connectionsRefused++;
      if (reason !== undefined) {
        host.log.warning('connection.refused', reason, { peer: peerName(stream.peer), listener: listener.name });
      }
      stream.destroy();
      return;
    }
    count.connections++;
    const { address } = stream.peer;
    const offered = host.config.protocol.compression ? new CompressibleStream(stream) : stream;
    const connection = new Connection(host.context, listener, offered, (closed) => {
      count.connections--;
      if (address !== '') guard.protection.perAddress.remove(address);
      connections.delete(closed);
      metrics.connections = connections.size;
    });
    connections.add(connection);
    metrics.connections = connections.size;
    metrics.connectionsTotal++;
    this.tell(connection, stream);
    connection.start();
  }

  /** Why a new connection may not be; undefined when it may, and then it is counted. */
  private whyNot({ peer: { address } }: ByteStream): string | undefined {
    const { protection, overload } = this.host.guard;
    if (overload.reason !== '') return `the broker is overloaded: ${overload.reason}`;
    if (address !== '' && protection.bans.findAddress(address) !== undefined) {
      this.host.metrics.connectionsBanned++;
      return `the address ${address} is banned`;
    }
    if (!protection.mayConnect()) return 'more clients connect in a second than may';
    if (address !== '' && !protection.perAddress.add(address, protection.options.connectionsPerAddressMax))
      return `the address ${address} has as many connections as it may`;
    return undefined;
  }

  /** Mosquitto tells of every connection; elsewhere a client is enough. */
  private tell(connection: Connection, { peer: { localPort } }: ByteStream): void {
    const { config, log } = this.host;
    const tells = config.log.format === 'mosquitto';
    if (tells || log.level >= LogLevel.debug)
      (tells ? log.information : log.debug)('connection.opened', 'connection opened', {
        ...connection.description,
        localPort,
      });
  }
}
