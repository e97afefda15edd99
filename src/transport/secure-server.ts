/**
 * TLS on a listening endpoint: who may shake hands, with what, and what became of it.
 *
 * Shape    A `TlsProvider` says the terms (certificates, keys, authorities) and may change them while clients are connected:
 *          connections made before keep theirs. Handshakes are Node's; the verdict on a client certificate is the provider's,
 *          given after the handshake, since OpenSSL's own would leave no room for lists, responders and exceptions.
 * Refuses  to know files, settings or MQTT.
 *
 * A pre-shared key counts only when the handshake was made with it. In TLS 1.3 a client may name an identity and then
 * negotiate a cipher suite whose hash does not fit the key; OpenSSL passes over the key and goes on with the certificate.
 * So sessions are not resumed where keys are used (then a "reused" session is one made with a key), and a client that named an
 * identity without using its key is refused.
 */
import { randomBytes, type X509Certificate } from 'node:crypto';
import type { Server as NetServer, Socket } from 'node:net';
import type { SecureContext, SecureContextOptions, TLSSocket, TlsOptions, Server as TlsServer } from 'node:tls';
import { LogLevel } from '../base/index.js';
import type { ArrivalOptions, Arrivals } from './arrivals.js';
import type { PeerAddress, Place, StreamSecurity } from './byte-stream.js';
import { handshakeFailure } from './handshake-failure.js';
import { peerName, peerOfSocket } from './peer-address.js';

/** What the handshake left to be judged. */
export interface ShownCertificate {
  readonly certificate: X509Certificate;
  /** Why OpenSSL did not trust its chain, such as `CERT_HAS_EXPIRED`; undefined when it did. */
  readonly chainError: string | undefined;
  /** The session was resumed: the certificate was judged when it began, and came without its issuers now. */
  readonly resumed: boolean;
}

export interface CertificateVerdict {
  /** Whether the chain leads to a trusted authority. */
  readonly trusted: boolean;
  /** Why the client is refused; undefined lets it in. */
  readonly refusal: string | undefined;
}

export interface TlsTerms {
  /** Certificate, key, authorities, versions and ciphers for `node:tls`. */
  readonly context: SecureContextOptions;
  /** The context for a server name; undefined for the usual one. */
  readonly contextFor?: (serverName: string) => SecureContext | undefined;
  /** The key of a PSK identity. Absent where no keys are used. */
  readonly keyFor?: (identity: string) => Buffer | undefined;
  /** Judges what the client showed, or that it showed nothing. Absent where no certificate is asked for. */
  readonly judge?: (shown: ShownCertificate | undefined) => CertificateVerdict | Promise<CertificateVerdict>;
  /** The OCSP response for our own certificate. */
  readonly staple?: (certificate: Buffer, issuer: Buffer | undefined) => Promise<Buffer | undefined>;
}

export interface TlsProvider {
  readonly terms: TlsTerms;
  /** Sent to PSK clients. */
  readonly pskHint: string | undefined;
  /** Protocols offered by ALPN, in order of preference; empty leaves ALPN alone. */
  readonly alpn: readonly string[];
  /** Told when `terms` has changed; returns what stops that. */
  onChange(listener: () => void): () => void;
}

/** `handshakeTimeoutMs` is for the PROXY protocol header, and then again for the handshake with its verdict. */
export interface SecureOptions extends ArrivalOptions {
  readonly tls: TlsProvider;
  /** Counts failures. */
  readonly onHandshakeFailed?: (() => void) | undefined;
}

/** Called with every client that may go on. */
export type OnSecure = (
  socket: TLSSocket,
  security: StreamSecurity,
  peer: PeerAddress,
  place: Place | undefined,
) => void;

/** What a socket went through before its handshake ended. */
interface Progress {
  peer: PeerAddress;
  pskIdentity?: string;
  unknownIdentity?: boolean;
}

const TICKET_KEY_BYTES = 48;
/** Whoever learns the key of tickets can read the sessions they resumed, so no key lives long. */
const TICKET_KEY_MS = 12 * 3_600_000;

export class SecureEndpoint {
  private readonly progress = new WeakMap<object, Progress>();
  private stopListening: () => void = () => {};

  constructor(
    private readonly options: SecureOptions,
    private readonly arrivals: Arrivals,
  ) {}

  /** What `tls.createServer` or `https.createServer` needs. */
  serverOptions(): TlsOptions {
    const { tls, handshakeTimeoutMs } = this.options;
    const { terms } = tls;
    return {
      ...this.context(),
      handshakeTimeout: handshakeTimeoutMs,
      // The verdict is ours, after the handshake.
      requestCert: terms.judge !== undefined,
      rejectUnauthorized: false,
      ...(terms.contextFor === undefined
        ? {}
        : { SNICallback: (name, done) => done(null, tls.terms.contextFor?.(name)) }),
      ...(terms.keyFor === undefined
        ? {}
        : { pskCallback: (socket: TLSSocket, identity: string) => this.keyFor(socket, identity) ?? null }),
      ...(terms.keyFor === undefined || tls.pskHint === undefined ? {} : { pskIdentityHint: tls.pskHint }),
      ...(tls.alpn.length === 0 ? {} : { ALPNProtocols: [...tls.alpn] }),
    };
  }

  /** Takes over `server`, made with `serverOptions`: every client it lets in is handed to `onSecure`. */
  serve(server: TlsServer, onSecure: OnSecure): void {
    const { tls } = this.options;
    const shakeHands = server.listeners('connection') as ((this: NetServer, socket: Socket) => void)[];
    this.arrivals.receive(server, (socket, peer) => {
      this.progress.set(socket, { peer });
      for (const shake of shakeHands) shake.call(server, socket);
    });
    server.removeAllListeners('secureConnection');
    server.on('secureConnection', (socket: TLSSocket) => this.shaken(socket, onSecure));
    server.removeAllListeners('tlsClientError');
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => this.failed(socket, error));
    if (tls.terms.staple !== undefined)
      server.on('OCSPRequest', (certificate, issuer, done) => {
        const { staple } = tls.terms;
        const none = () => done(null, null as unknown as Buffer);
        if (staple === undefined) none();
        else
          staple(certificate, issuer ?? undefined).then((response) => (response ? done(null, response) : none()), none);
      });
    const renew = () => server.setSecureContext(this.context());
    const stop = tls.onChange(renew);
    const timer = setInterval(renew, TICKET_KEY_MS).unref();
    this.stopListening = () => {
      stop();
      clearInterval(timer);
    };
    server.once('close', () => this.stopListening());
  }

  /** Called when the endpoint stops accepting: nobody is let in any more, so no handshake is waited for. */
  close(): void {
    this.stopListening();
    this.arrivals.close();
  }

  /** With ticket keys of its own each time: a session that an older context let in is not resumed in this one. */
  private context(): SecureContextOptions {
    const ticketKeys = randomBytes(TICKET_KEY_BYTES);
    // No text begins so: OpenSSL asks for the PSK of every ticket's name first, as if it were an identity.
    ticketKeys[0] = 0xff;
    return { ...this.options.tls.terms.context, ticketKeys };
  }

  private progressOf(socket: TLSSocket): Progress {
    const known = this.progress.get(rawSocketOf(socket)) ?? this.progress.get(socket);
    if (known !== undefined) return known;
    const fresh = { peer: peerOfSocket(socket) };
    this.progress.set(socket, fresh);
    return fresh;
  }

  private keyFor(socket: TLSSocket, identity: string): Buffer | undefined {
    const { terms } = this.options.tls;
    const progress = this.progressOf(socket);
    progress.pskIdentity = identity;
    const key = terms.keyFor?.(identity);
    progress.unknownIdentity = key === undefined;
    // Beside a certificate TLS 1.3 would go on with that. A key nobody has ends the handshake as a wrong key does.
    return (
      key ?? (terms.context.cert !== undefined && socket.getProtocol() === 'TLSv1.3' ? randomBytes(32) : undefined)
    );
  }

  private shaken(socket: TLSSocket, onSecure: OnSecure): void {
    const progress = this.progressOf(socket);
    const cipher = socket.getCipher();
    let pskIdentity: string | undefined;
    if (progress.pskIdentity !== undefined) {
      const used = cipher.name.includes('PSK') || (socket.getProtocol() === 'TLSv1.3' && socket.isSessionReused());
      if (!used || progress.unknownIdentity) {
        this.refuse(socket, 'the client named a PSK identity without using its key');
        return;
      }
      pskIdentity = progress.pskIdentity;
    }
    const { judge } = this.options.tls.terms;
    const admit = ({ trusted, refusal }: CertificateVerdict, certificate: X509Certificate | undefined) => {
      if (socket.destroyed) return;
      if (refusal !== undefined) return this.refuse(socket, refusal, certificate);
      const security: StreamSecurity = {
        version: socket.getProtocol() ?? '',
        cipher: cipher.standardName,
        serverName: typeof socket.servername === 'string' ? socket.servername : undefined,
        certificate: certificate === undefined ? undefined : { der: certificate.raw, trusted },
        pskIdentity,
      };
      const { log, name } = this.options;
      if (log.level >= LogLevel.debug)
        log.debug('connection.tls', 'TLS handshake done', {
          listener: name,
          peer: `${progress.peer.address}:${progress.peer.port}`,
          version: security.version,
          cipher: security.cipher,
          resumed: socket.isSessionReused(),
        });
      onSecure(socket, security, progress.peer, this.arrivals.handUp(rawSocketOf(socket)));
    };
    // A key vouches for the client as a certificate does.
    if (judge === undefined || pskIdentity !== undefined)
      return admit({ trusted: false, refusal: undefined }, undefined);
    const certificate = socket.getPeerX509Certificate();
    const shown =
      certificate === undefined
        ? undefined
        : {
            certificate,
            chainError: socket.authorized ? undefined : String(socket.authorizationError),
            resumed: socket.isSessionReused(),
          };
    const failed = (error: unknown) => {
      this.options.log.error('listener.tls', `A certificate of a client could not be checked: ${String(error)}`, {
        listener: this.options.name,
      });
      this.refuse(socket, 'the certificate could not be checked', certificate);
    };
    let verdict: ReturnType<typeof judge>;
    try {
      verdict = judge(shown);
    } catch (error) {
      return failed(error);
    }
    if (!(verdict instanceof Promise)) return admit(verdict, certificate);
    socket.on('error', () => {});
    verdict.then((decided) => admit(decided, certificate)).catch(failed);
  }

  private refuse(socket: TLSSocket, reason: string, certificate?: X509Certificate): void {
    this.report(this.progressOf(socket).peer, reason, certificate);
    socket.on('error', () => {});
    socket.destroy();
  }

  private failed(socket: TLSSocket, error: NodeJS.ErrnoException): void {
    const progress = this.progressOf(socket);
    const reason = progress.unknownIdentity
      ? 'the PSK identity is not known'
      : handshakeFailure(error, progress.pskIdentity);
    this.report(progress.peer, reason, undefined, progress.pskIdentity);
    socket.destroy();
  }

  private report(peer: PeerAddress, reason: string, certificate?: X509Certificate, pskIdentity?: string): void {
    this.options.onHandshakeFailed?.();
    this.options.log.information('connection.tls-failed', `Refused in the TLS handshake: ${reason}.`, {
      listener: this.options.name,
      peer: peerName(peer),
      ...(pskIdentity === undefined ? {} : { pskIdentity }),
      ...(certificate === undefined
        ? {}
        : // Node tells undefined of a subject without parts.
          { subject: certificate.subject?.slice(0, 300) ?? '', serialNumber: certificate.serialNumber }),
    });
  }
}

/** The TCP socket under a TLS socket; there is no public way to it. */
function rawSocketOf(socket: TLSSocket): object {
  return (socket as unknown as { _parent?: object })._parent ?? socket;
}
