export type { AcceptStream, ByteSink, ByteStream, Listener, PeerAddress, StreamSecurity } from './byte-stream.js';
export { NodeStream } from './node-stream.js';
export { acceptProxied, type ProxyVersions } from './proxy-protocol.js';
export type {
  CertificateVerdict,
  ShownCertificate,
  TlsProvider,
  TlsTerms,
} from './secure-server.js';
export { handlesAvailable, listenTcp, type TcpListenOptions } from './tcp.js';
export { listenTls, type TlsListenOptions } from './tls.js';
export { attachWebSocket, type WebSocketOptions } from './websocket.js';
export { listenWebSocket } from './websocket-listener.js';
