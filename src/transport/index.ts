export type { AcceptStream, ByteSink, ByteStream, Listener, PeerAddress, StreamSecurity } from './byte-stream.js';
export { NodeStream } from './node-stream.js';
export { acceptProxied, type ProxyVersions } from './proxy-protocol.js';
export { handlesAvailable, listenTcp, type TcpListenOptions } from './tcp.js';
export { attachWebSocket, type WebSocketOptions } from './websocket.js';
export { listenWebSocket } from './websocket-listener.js';
