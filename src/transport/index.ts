export type {
  AcceptStream,
  Admit,
  ByteSink,
  ByteStream,
  Listener,
  PeerAddress,
  Place,
  StreamSecurity,
} from './byte-stream.js';
export { CompressibleStream } from './compressible-stream.js';
export { handlesAvailable } from './handle-stream.js';
export { NodeStream } from './node-stream.js';
export { canonicalAddress, peerName } from './peer-address.js';
export type { ProxyVersions } from './proxy-protocol.js';
export type {
  CertificateVerdict,
  ShownCertificate,
  TlsProvider,
  TlsTerms,
} from './secure-server.js';
export { securityOfSocket } from './socket-security.js';
export { listenTcp, type TcpListenOptions } from './tcp.js';
export { listenTls, type TlsListenOptions } from './tls.js';
export { attachWebSocket, type WebSocketOptions } from './websocket.js';
export { type HttpDocument, listenWebSocket } from './websocket-listener.js';
