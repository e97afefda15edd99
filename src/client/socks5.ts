/**
 * The client side of SOCKS5 (RFC 1928) with no authentication or user name and password (RFC 1929). Host names go to the
 * proxy unresolved, as `socks5h` asks.
 */
import { isIP, type Socket } from 'node:net';
import type { SocksProxy } from './client-options.js';

const version = 5;
const Method = { none: 0x00, userPassword: 0x02, refused: 0xff } as const;
const replies = [
  'succeeded',
  'general failure',
  'connection not allowed by its rules',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'time to live expired',
  'command not supported',
  'address type not supported',
];

/** Asks the proxy behind `socket` for a connection to host:port. On return the socket carries the target's bytes. */
export async function negotiateSocks5(socket: Socket, proxy: SocksProxy, host: string, port: number): Promise<void> {
  const reader = new ExactReader(socket);
  try {
    const withPassword = proxy.username !== undefined;
    socket.write(
      Buffer.from(withPassword ? [version, 2, Method.none, Method.userPassword] : [version, 1, Method.none]),
    );
    const [replyVersion, method] = await reader.read(2);
    if (replyVersion !== version) throw new Error('the proxy does not speak SOCKS5');
    if (method === Method.userPassword && withPassword) await logIn(socket, reader, proxy);
    else if (method !== Method.none) throw new Error('the proxy accepts none of the authentication methods offered');
    socket.write(
      Buffer.concat([Buffer.from([version, 1, 0]), encodeAddress(host), Buffer.from([port >> 8, port & 0xff])]),
    );
    const [, reply, , addressType] = await reader.read(4);
    if (reply !== 0) throw new Error(`the proxy answered: ${replies[reply!] ?? `code ${reply}`}`);
    const addressLength = addressType === 1 ? 4 : addressType === 4 ? 16 : (await reader.read(1))[0]!;
    await reader.read(addressLength + 2);
  } finally {
    reader.release();
  }
}

async function logIn(socket: Socket, reader: ExactReader, { username = '', password = '' }: SocksProxy): Promise<void> {
  const name = Buffer.from(username);
  const secret = Buffer.from(password);
  if (name.length > 255 || secret.length > 255) throw new Error('user name or password is too long for a SOCKS5 proxy');
  socket.write(Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([secret.length]), secret]));
  const [, status] = await reader.read(2);
  if (status !== 0) throw new Error('the proxy refused the user name or password');
}

function encodeAddress(host: string): Buffer {
  const family = isIP(host);
  if (family === 4) return Buffer.from([1, ...host.split('.').map(Number)]);
  if (family === 6) return Buffer.concat([Buffer.from([4]), encodeIPv6(host)]);
  const name = Buffer.from(host);
  if (name.length > 255) throw new Error(`the host name ${JSON.stringify(host)} is too long for a SOCKS5 proxy`);
  return Buffer.concat([Buffer.from([3, name.length]), name]);
}

function encodeIPv6(address: string): Buffer {
  // an IPv4 tail such as ::ffff:1.2.3.4 is two groups
  const text = address
    .replace(/%.*$/, '')
    .replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, a, b, c, d) =>
      [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)].map((group) => group.toString(16)).join(':'),
    );
  const [head = '', tail] = text.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const first = groups(head);
  const last = tail === undefined ? [] : groups(tail);
  const all = [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
  const bytes = Buffer.alloc(16);
  for (const [index, group] of all.entries()) bytes.writeUInt16BE(group, index * 2);
  return bytes;
}

/** Takes exact counts of bytes off a paused socket and leaves the rest in it. */
class ExactReader {
  private waiting: { count: number; resolve: (bytes: Buffer) => void; reject: (error: Error) => void } | undefined;
  private readonly onReadable = () => this.serve();
  private readonly onError = (error: Error) => this.fail(error);
  private readonly onEnd = () => this.fail(new Error('the proxy closed the connection'));

  constructor(private readonly socket: Socket) {
    socket.on('readable', this.onReadable);
    socket.on('error', this.onError);
    socket.on('end', this.onEnd);
  }

  read(count: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.waiting = { count, resolve, reject };
      this.serve();
    });
  }

  release(): void {
    this.socket.off('readable', this.onReadable);
    this.socket.off('error', this.onError);
    this.socket.off('end', this.onEnd);
  }

  private serve(): void {
    if (this.waiting === undefined) return;
    const bytes = this.socket.read(this.waiting.count) as Buffer | null;
    if (bytes === null) return;
    const { count, resolve, reject } = this.waiting;
    this.waiting = undefined;
    if (bytes.length === count) resolve(bytes);
    else reject(new Error('the proxy closed the connection'));
  }

  private fail(error: Error): void {
    this.waiting?.reject(error);
    this.waiting = undefined;
  }
}
