/**
 * Where clients come in: the listeners of the configuration with their TLS, and the built-in certificate authority, which is opened
 * with the first listener that needs it.
 */
import type { Limits, Logger } from '../base/index.js';
import {
  type AcceptanceOptions,
  CertificateAuthority,
  ListenerTls,
  listenerHooks,
  withAuthority,
} from '../certificates/index.js';
import { type Config, isSecure, isWebSocket, type ListenerConfig } from '../config/index.js';
import { type Connection, ConnectionState, type ListenerOptions } from '../connection/index.js';
import type { BrokerMetrics } from '../metrics/index.js';
import { type ProtocolVersion, ReasonCode } from '../protocol/index.js';
import {
  type AcceptStream,
  type HttpDocument,
  type Listener,
  listenTcp,
  listenTls,
  listenWebSocket,
  peerName,
} from '../transport/index.js';
import type { Door } from './admission.js';
import { boundedLog } from './bounded-log.js';
import type { BoundListener, LiveSettings } from './broker-api.js';
import { fileAt } from './http-folder.js';
import { listenOnceMore, placesOf } from './listener-hosts.js';

/** What listeners need of the broker around them. */
export interface ListenerHost {
  readonly config: Config;
  readonly limits: Limits;
  readonly log: Logger;
  readonly metrics: BrokerMetrics;
  readonly connections: Iterable<Connection>;
  /** Through which the clients of a listener come. */
  door(listener: ListenerOptions): Door;
}

type ListenerChange = NonNullable<LiveSettings['listeners']>[number];

const versions: Readonly<Record<string, ProtocolVersion>> = { '3.1': 3, '3.1.1': 4, '5.0': 5 };
const versionsOf = (names: readonly string[]) => names.map((version) => versions[version]!);

export class Listeners {
  authority: CertificateAuthority | undefined;
  private readonly bound: {
    listener: Listener;
    config: ListenerConfig;
    tls: ListenerTls | undefined;
    options: ListenerOptions;
  }[] = [];

  constructor(private readonly host: ListenerHost) {}

  list(): BoundListener[] {
    return this.bound.map(({ listener, config }) => ({
      name: config.name,
      protocol: config.protocol,
      address: 'address' in listener.bound ? listener.bound.address : undefined,
      port: 'port' in listener.bound ? listener.bound.port : undefined,
      path: 'path' in listener.bound ? listener.bound.path : undefined,
    }));
  }

  /** Errors  `Fault` LISTEN_…, TLS_MATERIAL_INVALID or CA_…; what was bound before stays bound. */
  async open(config: ListenerConfig): Promise<void> {
    const tls = isSecure(config.protocol) ? await this.prepareTls(config) : undefined;
    const options = optionsOf(config);
    const door = this.host.door(options);
    try {
      for (const place of placesOf(config)) {
        const listener = await listenOnceMore(place, (where) => this.listen(where, door, tls));
        this.bound.push({ listener, config, tls, options });
      }
    } catch (error) {
      tls?.stop();
      throw error;
    }
  }

  /** Stops accepting. Connections live on. */
  close(): Promise<unknown> {
    const closed = this.bound.splice(0).map(({ listener, tls }) => {
      tls?.stop();
      return listener.close();
    });
    this.authority?.stop();
    this.authority = undefined;
    return Promise.all(closed);
  }

  /** Changes what may change of a listener while it listens. */
  change(change: ListenerChange): void {
    const { name, connectionsMax, protocolVersions } = change;
    for (const { config, options } of this.bound) {
      if (config.name !== name) continue;
      if (connectionsMax !== undefined) options.connectionsMax = connectionsMax;
      for (const term of ['allowAnonymous', 'emptyClientIds', 'clientIdPrefix', 'usernameAsClientId'] as const)
        if (change[term] !== undefined) Object.assign(options, { [term]: change[term] });
      if (protocolVersions !== undefined) Object.assign(options, { protocolVersions: versionsOf(protocolVersions) });
    }
  }

  /** The built-in authority, once a listener needs it. */
  private async openAuthority(): Promise<CertificateAuthority> {
    const { folder, ...settings } = this.host.config.certificateAuthority;
    const authority = await CertificateAuthority.open(folder, settings, { log: this.host.log, mode: 'create' });
    authority.onChange(() => {
      try {
        this.reloadCertificates();
      } catch (error) {
        this.host.log.error('listener.tls-rejected', `What was read before stays in use: ${(error as Error).message}`);
      }
    });
    authority.start();
    return authority;
  }

  /** Reads what the listener needs for TLS, and again whenever a file changes. Errors: `Fault`. */
  private async prepareTls(config: ListenerConfig): Promise<ListenerTls> {
    const { name, tls: own } = config;
    const options = { name, where: `listener ${name}: tls`, log: this.host.log };
    let tls: ListenerTls;
    if (own.authority) {
      this.authority ??= await this.openAuthority();
      const acceptance = acceptanceOf(config);
      const settings = withAuthority(own, this.authority, acceptance);
      tls = new ListenerTls({ ...options, settings, ...listenerHooks(this.authority, acceptance) });
    } else tls = new ListenerTls({ ...options, settings: own });
    for (const warning of tls.warnings) this.host.log.warning('listener.tls', warning, { listener: name });
    if (own.reloadOnChange) tls.startWatching(() => this.dropRevoked(config, tls));
    return tls;
  }

  reloadCertificates(): void {
    let fault: unknown;
    try {
      this.authority?.readAgain();
    } catch (error) {
      fault = error;
    }
    for (const { config, tls } of this.bound) {
      if (tls === undefined) continue;
      try {
        tls.reload();
        for (const warning of tls.warnings) this.host.log.warning('listener.tls', warning, { listener: config.name });
      } catch (error) {
        fault ??= error;
      }
      // Also when a file was no good: the list of the authority may have changed.
      this.dropRevoked(config, tls);
    }
    if (fault !== undefined) throw fault;
  }

  /** What the HTTP servers of WebSocket listeners hand out of the authority: nothing secret. */
  private documentAt(path: string): HttpDocument | undefined {
    const { authority } = this;
    if (authority === undefined) return undefined;
    if (path === '/ca.crl') {
      const body = authority.revocationList('der'); // RFC 5280 §4.2.1.13: DER over HTTP
      return body === undefined ? undefined : { type: 'application/pkix-crl', body };
    }
    if (path !== '/ca.pem') return undefined;
    return { type: 'application/x-pem-file', body: Buffer.from(authority.authority().map(String).join('')) };
  }

  /** A list that was read just now ends the connections of those who would not be let in by it, whether they said CONNECT or not. */
  private dropRevoked(config: ListenerConfig, tls: ListenerTls): void {
    const refusalOf = this.refusals(config, tls);
    for (const connection of this.host.connections) {
      if (connection.listener.name !== config.name || connection.state === ConnectionState.Closed) continue;
      const { certificate } = connection.client ?? connection.facts;
      const reason = certificate === undefined ? undefined : refusalOf(certificate.der, certificate.trusted);
      if (reason === undefined) continue;
      this.host.log.warning('connection.revoked', `This client may not stay: ${reason}.`, connection.description);
      connection.disconnect(ReasonCode.NotAuthorized, reason);
    }
  }

  /** Why the lists as they are now refuse a certificate that was let in before; undefined when they do not. */
  private refusals(config: ListenerConfig, tls: ListenerTls): (der: Buffer, trusted: boolean) => string | undefined {
    const judge = config.tls.authority ? this.authority?.judge(acceptanceOf(config)) : undefined;
    return (der, trusted) => (tls.revokedNow(der) ? 'its certificate is revoked' : judge?.(der, trusted));
  }

  /** Hands clients up, but those whose certificate was revoked while OCSP was asked or their HTTP request was awaited. */
  private handingUp(config: ListenerConfig, tls: ListenerTls, handUp: AcceptStream): AcceptStream {
    return (stream, place) => {
      const certificate = stream.security?.certificate;
      const reason = certificate && this.refusals(config, tls)(certificate.der, certificate.trusted);
      if (reason === undefined) return handUp(stream, place);
      this.host.log.warning('connection.revoked', `This client may not stay: ${reason}.`, {
        peer: peerName(stream.peer),
        listener: config.name,
      });
      this.host.metrics.tlsHandshakesFailed++;
      stream.destroy();
    };
  }

  private listen(config: ListenerConfig, door: Door, tls: ListenerTls | undefined): Promise<Listener> {
    const { name, backlog, proxyProtocol, proxyTls, httpFolder } = config;
    const log = boundedLog(this.host.log, Date.now);
    const where =
      config.unixPath === undefined
        ? { host: config.host, port: config.port, ipv6Only: config.ipv6Only }
        : { unixPath: config.unixPath };
    const accept: AcceptStream = (stream, place) => door.accept(stream, place);
    const { admit } = door;
    const onStream = tls === undefined ? accept : this.handingUp(config, tls, accept);
    const handshakeTimeoutMs = this.host.limits.connectTimeoutSeconds * 1000;
    const onHandshakeFailed = () => {
      this.host.metrics.tlsHandshakesFailed++;
    };
    const onRefused = () => {
      this.host.metrics.connectionsRefused++;
    };
    if (isWebSocket(config.protocol))
      return listenWebSocket({
        name,
        ...where,
        backlog,
        path: config.path,
        origins: config.origins,
        trustedProxies: config.trustedProxies,
        packetBytesMax: () => this.host.limits.packetBytesMax,
        proxyProtocol,
        proxyTls,
        admit,
        handshakeTimeoutMs,
        log,
        onRefused,
        onStream,
        documentAt: (path) =>
          this.documentAt(path) ?? (httpFolder === undefined ? undefined : fileAt(httpFolder, path)),
        ...(tls === undefined ? {} : { tls, onHandshakeFailed }),
      });
    if (tls !== undefined)
      return listenTls({
        name,
        ...where,
        backlog,
        proxyProtocol,
        proxyTls,
        admit,
        handshakeTimeoutMs,
        tls,
        log,
        onHandshakeFailed,
        onRefused,
        onStream,
      });
    return listenTcp({
      name,
      ...where,
      backlog,
      onStream,
      ...(proxyProtocol === 'off'
        ? {}
        : {
            admit,
            proxy: {
              name,
              accept: proxyProtocol,
              requireTls: proxyTls,
              timeoutMs: handshakeTimeoutMs,
              log,
              onRefused,
            },
          }),
    });
  }
}

/** A setting that a listener may have of its own, where it has. */
function own<Key extends 'maximumQoS' | 'topicAliasMaximum' | 'topicAliasMaximumToClients'>(
  config: ListenerConfig,
  key: Key,
): Partial<Record<Key, number>> {
  const value = config[key];
  return value === undefined ? {} : ({ [key]: value } as Record<Key, number>);
}

function optionsOf(config: ListenerConfig): ListenerOptions {
  return {
    name: config.name,
    allowAnonymous: config.allowAnonymous,
    connectionsMax: config.connectionsMax,
    mountPoint: config.mountPoint,
    protocolVersions: versionsOf(config.protocolVersions),
    pskIdentityAsUsername: config.tls.psk.identityAsUsername,
    ...own(config, 'maximumQoS'),
    ...own(config, 'topicAliasMaximum'),
    ...own(config, 'topicAliasMaximumToClients'),
    emptyClientIds: config.emptyClientIds,
    clientIdPrefix: config.clientIdPrefix,
    usernameAsClientId: config.usernameAsClientId,
  };
}

function acceptanceOf({ tls: { clientCertificate, onlyListed, trustListed } }: ListenerConfig): AcceptanceOptions {
  return { requireClientCertificate: clientCertificate === 'require', onlyListed, trustListed };
}
