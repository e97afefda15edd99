import { type SocksUrl, type ToolOptions, UsageError } from './tool-options.js';

const ports: Readonly<Record<string, number>> = { mqtts: 8883, ws: 8083, wss: 8084 };

/** `-L mqtt(s)://[username[:password]@]host[:port]/topic`, or `ws(s)://…`, every part taken literally. */
export function applyUrl(options: ToolOptions, url: string): void {
  const scheme = /^(mqtts?|wss?):\/\//.exec(url);
  if (scheme === null)
    throw new UsageError(
      `Unsupported URL scheme in ${JSON.stringify(withoutPassword(url))}; use mqtt://, mqtts://, ws:// or wss://.`,
    );
  const rest = url.slice(scheme[0].length);
  const slash = rest.indexOf('/');
  const topic = slash === -1 ? '' : rest.slice(slash + 1);
  if (topic === '' && options.tool !== 'ctrl')
    throw new UsageError('Invalid URL for -L argument specified - topic missing.');
  const parts = authority(slash === -1 ? rest : rest.slice(0, slash), 'Invalid URL for -L argument specified');
  const name = scheme[1]!;
  if (name === 'mqtts' || name === 'wss') options.tls.wanted = true;
  if (name === 'ws' || name === 'wss') options.webSocket = name;
  options.host = parts.host;
  if (parts.port !== undefined) options.port = parts.port;
  else if (name !== 'mqtt') options.port ??= ports[name]!;
  if (parts.username !== undefined) options.username = parts.username;
  if (parts.password !== undefined) options.password = parts.password;
  options.topics.push(topic);
}

/** `--proxy socks5h://[username[:password]@]host[:port]`, with %25, %3A and %40 in user name and password. */
export function parseProxy(url: string): SocksUrl {
  const scheme = 'socks5h://';
  if (!url.startsWith(scheme)) throw new UsageError(`Unsupported proxy protocol: ${withoutPassword(url)}`);
  const { host, port, username, password } = authority(url.slice(scheme.length), 'Invalid proxy');
  const decode = (text: string) => text.replace(/%(25|3a|40)/gi, (code) => decodeURIComponent(code));
  return {
    host,
    port: port ?? 1080,
    ...(username === undefined ? {} : { username: decode(username) }),
    ...(password === undefined ? {} : { password: decode(password) }),
  };
}

interface Authority {
  host: string;
  port?: number;
  username?: string;
  password?: string;
}

function authority(text: string, what: string): Authority {
  const at = text.lastIndexOf('@');
  const [, host, port] = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(text.slice(at + 1)) ?? [];
  if (host === undefined) throw new UsageError(`${what}: host missing or port no number.`);
  const result: Authority = { host: host.replace(/^\[|\]$/g, '') };
  if (port !== undefined) {
    if (Number(port) < 1 || Number(port) > 65_535)
      throw new UsageError(`${what}: port ${port} is not from 1 to 65535.`);
    result.port = Number(port);
  }
  if (at >= 0) {
    const colon = text.indexOf(':');
    const withPassword = colon >= 0 && colon < at;
    result.username = text.slice(0, withPassword ? colon : at);
    if (withPassword) result.password = text.slice(colon + 1, at);
  }
  return result;
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/.*@/, '//');
}
