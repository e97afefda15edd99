/**
 * Which connections may be, whichever door they come through, and how many there are.
 *
 * Shape    A connection is judged as soon as its address is known and holds a place from then on: of the broker, of its listener and of its
 *          address. Where a handshake or a proxy's header comes first, `Door.admit` is asked at accept; a stream that is complete when it
 *          comes (TCP, those of `handle` and `attachWebSocket`) is judged all at once by `Door.accept`.
 *
 *   at accept                 the broker runs, has room, the listener has room, no overload
 *   when the address is told  no ban, room for the address, the rate of new connections (one token for each that gets so far)
 *   when the stream is there  no ban that came meanwhile
 */
import { type Limits, type Logger, LogLevel } from '../base/index.js';
import type { Config } from '../config/index.js';
import { Connection, type ConnectionContext, type ListenerOptions, RefusalLines } from '../connection/index.js';
import type { BrokerMetrics } from '../metrics/index.js';
import {
  type Admit,
  type ByteStream,
  CompressibleStream,
  type PeerAddress,
  type Place,
  peerName,
} from '../transport/index.js';
import type { Guard } from './guard.js';

/** Lines of the log in ten seconds for each listener and kind of refusal: whoever floods the broker must not fill it. */
const LINES_MAX = 100;

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

type Refusal = 'full' | 'overload' | 'banned' | 'address' | 'rate';

export class Admission {
  /** Held at present, through all doors. */
  places = 0;
  private readonly lines = new Map<string, RefusalLines>();

  constructor(readonly host: AdmissionHost) {}

  door(listener: ListenerOptions): Door {
    return new Door(this, listener);
  }

  refuse(refusal: Refusal, reason: string, peer: PeerAddress, listener: string): void {
    const { metrics, context, log } = this.host;
    metrics.connectionsRefused++;
    if (refusal === 'banned') metrics.connectionsBanned++;
    const key = `${refusal} ${listener}`;
    let lines = this.lines.get(key);
    if (lines === undefined) this.lines.set(key, (lines = new RefusalLines(LINES_MAX)));
    const notLogged = lines.take(context.nowMs());
    if (notLogged === undefined) return;
    const fields = { peer: peerName(peer), listener };
    log.warning('connection.refused', reason, notLogged > 0 ? { ...fields, notLogged } : fields);
  }
}

/** One listener, on all the addresses it listens on. */
export class Door {
  places = 0;

  constructor(
    private readonly admission: Admission,
    private readonly listener: ListenerOptions,
  ) {}

  /** For sockets whose client, or stream, comes later. */
  readonly admit: Admit = (peer) => this.enter(peer);

  /** Makes a connection of a stream, unless it may not be. `place` is that of a client who has been identified. */
  accept(stream: ByteStream, place: Place | undefined): void {
    const { host } = this.admission;
    const { connections, metrics } = host;
    const held =
      place === undefined ? this.enter(stream.peer, true) : this.stillWelcome(stream.peer) ? place : undefined;
    if (held === undefined) {
      place?.release();
      stream.destroy();
      return;
    }
    const offered = host.config.protocol.compression ? new CompressibleStream(stream) : stream;
    const connection = new Connection(host.context, this.listener, offered, (closed) => {
      held.release();
      connections.delete(closed);
      metrics.connections = connections.size;
    });
    connections.add(connection);
    metrics.connections = connections.size;
    metrics.connectionsTotal++;
    this.tell(connection, stream);
    connection.start();
  }

  /** Takes an address, and a token of the rate; false where it may not, and the log has it then. */
  letIn(peer: PeerAddress): boolean {
    const { address } = peer;
    const { protection } = this.admission.host.guard;
    if (this.isBanned(peer)) return false;
    const { perAddress, options } = protection;
    if (address !== '' && !perAddress.add(address, options.connectionsPerAddressMax))
      return this.refuse('address', `the address ${address} has as many connections as it may`, peer);
    if (protection.mayConnect()) return true;
    if (address !== '') perAddress.remove(address);
    return this.refuse('rate', 'more clients connect in a second than may', peer);
  }

  leave(address: string | undefined): void {
    this.places--;
    this.admission.places--;
    if (address) this.admission.host.guard.protection.perAddress.remove(address);
  }

  private enter(peer: PeerAddress, identified = false): Place | undefined {
    const { host } = this.admission;
    const { overload } = host.guard;
    if (!host.running()) {
      host.metrics.connectionsRefused++;
      return undefined;
    }
    if (this.places >= this.listener.connectionsMax || this.admission.places >= host.limits.connectionsMax)
      this.refuse('full', 'as many connections are open as may be', peer);
    else if (overload.reason !== '') this.refuse('overload', `the broker is overloaded: ${overload.reason}`, peer);
    else if (!identified || this.letIn(peer)) {
      this.places++;
      this.admission.places++;
      return new HeldPlace(this, identified ? peer.address : undefined);
    }
    return undefined;
  }

  private stillWelcome(peer: PeerAddress): boolean {
    if (this.admission.host.running()) return !this.isBanned(peer);
    this.admission.host.metrics.connectionsRefused++;
    return false;
  }

  private isBanned(peer: PeerAddress): boolean {
    const { address } = peer;
    if (address === '' || this.admission.host.guard.protection.bans.findAddress(address) === undefined) return false;
    this.refuse('banned', `the address ${address} is banned`, peer);
    return true;
  }

  private refuse(refusal: Refusal, reason: string, peer: PeerAddress): false {
    this.admission.refuse(refusal, reason, peer, this.listener.name);
    return false;
  }

  /** Mosquitto tells of every connection; elsewhere a client is enough. */
  private tell(connection: Connection, { peer: { localPort } }: ByteStream): void {
    const { config, log } = this.admission.host;
    const tells = config.log.format === 'mosquitto';
    if (tells || log.level >= LogLevel.debug)
      (tells ? log.information : log.debug)('connection.opened', 'connection opened', {
        ...connection.description,
        localPort,
      });
  }
}

class HeldPlace implements Place {
  private held = true;

  /** @param address undefined until the client is identified. */
  constructor(
    private readonly door: Door,
    private address: string | undefined,
  ) {}

  identify(peer: PeerAddress): boolean {
    if (!this.held || this.address !== undefined) return this.held;
    if (this.door.letIn(peer)) this.address = peer.address;
    else this.release();
    return this.held;
  }

  release(): void {
    if (!this.held) return;
    this.held = false;
    this.door.leave(this.address);
  }
}
