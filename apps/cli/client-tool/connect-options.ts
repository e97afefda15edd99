/**
 * `ToolOptions` become the client's options: server, session, will, TLS.
 */
import { lookup, resolveSrv } from 'node:dns/promises';
import { readdirSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import * as nodeTls from 'node:tls';
import type { ClientOptions, Target } from '../../../src/client/index.js';
import type { Properties, Will } from '../../../src/protocol/index.js';
import { type ToolOptions, UsageError } from './tool-options.js';

/** Certificates of the system where Node cannot list them itself. */
const systemBundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

export async function connectOptions(options: ToolOptions): Promise<ClientOptions> {
  const { protocolVersion = 4, username, password, will } = options;
  const result: ClientOptions = {
    target: await targetOf(options),
    protocolVersion,
    clientId: clientIdOf(options),
    cleanStart: !options.keepSession,
    keepAlive: options.keepAlive,
    resubscribe: false,
  };
  if (username !== undefined) result.username = username;
  if (password !== undefined) result.password = Buffer.from(password);
  if (will.topicName !== undefined) result.will = willOf(options, will.topicName);
  if (options.inflightMax !== undefined) result.inflightMax = options.inflightMax;
  if (protocolVersion === 5) {
    const properties: Properties = { ...options.properties.connect };
    if (options.sessionExpiryInterval !== undefined) properties.sessionExpiryInterval ??= options.sessionExpiryInterval;
    result.properties = properties;
  }
  result.acknowledgeProperties = {
    ...(options.properties.puback === undefined ? {} : { puback: options.properties.puback }),
    ...(options.properties.pubrec === undefined ? {} : { pubrec: options.properties.pubrec }),
    ...(options.properties.pubrel === undefined ? {} : { pubrel: options.properties.pubrel }),
    ...(options.properties.pubcomp === undefined ? {} : { pubcomp: options.properties.pubcomp }),
  };
  return result;
}

function clientIdOf({ clientId, clientIdPrefix, protocolVersion }: ToolOptions): string {
  if (clientId !== undefined) return clientId;
  if (clientIdPrefix !== undefined) return `${clientIdPrefix}${process.pid}`;
  if (protocolVersion !== 3) return '';
  // 3.1 has no empty identifier, and none longer than 23
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
  return `mosq-${Array.from({ length: 18 }, () => letters[Math.floor(Math.random() * letters.length)]).join('')}`;
}

function willOf({ will, properties }: ToolOptions, topicName: string): Will {
  const result: Will = { topicName, payload: Buffer.from(will.payload ?? ''), qos: will.qos ?? 0, retain: will.retain };
  if (properties.will !== undefined) result.properties = properties.will;
  return result;
}

async function targetOf(options: ToolOptions): Promise<Target> {
  const tls = tlsOf(options);
  if (options.unixPath !== undefined) {
    return { transport: 'unix', path: options.unixPath, ...(tls === undefined ? {} : { tls }) };
  }
  if (options.webSocket !== undefined) return webSocketTarget(options, options.webSocket, tls);
  const server = await serverOf(options, tls !== undefined);
  return {
    transport: 'tcp',
    ...server,
    noDelay: options.noDelay,
    ...(options.bindAddress === undefined ? {} : { localAddress: await addressOf(options.bindAddress) }),
    ...(options.proxy === undefined ? {} : { proxy: options.proxy }),
    ...(tls === undefined ? {} : { tls }),
  };
}

function webSocketTarget(
  options: ToolOptions,
  scheme: 'ws' | 'wss',
  tls: nodeTls.ConnectionOptions | undefined,
): Target {
  const { host = 'localhost', port = scheme === 'wss' ? 8084 : 8083, webSocketPath } = options;
  const given = { '--proxy': options.proxy, '-A': options.bindAddress, '-S': options.serviceLookup || undefined };
  for (const [name, value] of Object.entries(given))
    if (value !== undefined) throw new UsageError(`${name} does not go with a ${scheme}:// URL.`);
  if (scheme === 'ws' && tls !== undefined) throw new UsageError('TLS options need a wss:// URL instead of ws://.');
  const url = `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}${webSocketPath}`;
  return { transport: 'webSocket', url, ...(tls === undefined ? {} : { tls }) };
}

async function addressOf(name: string): Promise<string> {
  return isIP(name) === 0 ? (await lookup(name)).address : name;
}

async function serverOf(options: ToolOptions, secure: boolean): Promise<{ host: string; port: number }> {
  const host = options.host ?? 'localhost';
  if (!options.serviceLookup) return { host, port: options.port ?? (secure ? 8883 : 1883) };
  const records = await resolveSrv(`${secure ? '_secure-mqtt' : '_mqtt'}._tcp.${host}`);
  const [best] = records.sort((a, b) => a.priority - b.priority || b.weight - a.weight);
  if (best === undefined) throw new Error(`no service record for ${host}`);
  return { host: best.name, port: best.port };
}

function tlsOf(options: ToolOptions): nodeTls.ConnectionOptions | undefined {
  const { tls } = options;
  if (tls.psk !== undefined) return pskOf(options);
  const named = tls.cafile !== undefined || tls.capath !== undefined || tls.systemCertificates;
  if (!named && !tls.wanted && options.port !== 8883) {
    const without =
      ['cert', 'ciphers', 'version', 'alpn'].find((name) => name in tls) ?? (tls.insecure ? 'insecure' : undefined);
    if (without === undefined) return undefined;
    throw new UsageError('TLS options need TLS: give --cafile, --capath, --tls-use-os-certs or an mqtts:// URL.');
  }
  const ca = [
    ...(tls.cafile === undefined ? [] : [read(tls.cafile)]),
    ...(tls.capath === undefined ? [] : readFolder(tls.capath)),
    ...(tls.systemCertificates || !named ? systemCertificates() : []),
  ];
  return checked(options, {
    ca,
    ...common(options),
    ...(tls.cert === undefined ? {} : { cert: read(tls.cert) }),
    ...(tls.key === undefined ? {} : { key: readKey(tls.key) }),
    ...(tls.ciphers === undefined ? {} : { ciphers: tls.ciphers }),
    ...(tls.insecure ? { checkServerIdentity: () => undefined } : {}),
  });
}

function pskOf(options: ToolOptions): nodeTls.ConnectionOptions {
  const { psk = '', pskIdentity = '', ciphers } = options.tls;
  return checked(options, {
    ...common(options),
    // In TLS 1.3 a key goes with SHA-256 only.
    ciphers: `TLS_AES_128_GCM_SHA256:${ciphers ?? 'PSK'}`,
    // Whoever shows a certificate has not used the key, even if the whole world trusts that certificate.
    ca: [],
    checkServerIdentity: (_host, { raw }) =>
      raw === undefined
        ? undefined
        : new Error('the server showed a certificate instead of proving that it has the key'),
    pskCallback: () => ({ psk: Buffer.from(psk, 'hex'), identity: pskIdentity }),
  });
}

/** What OpenSSL does not take is said before anything is dialled. */
function checked({ tls }: ToolOptions, options: nodeTls.ConnectionOptions): nodeTls.ConnectionOptions {
  try {
    nodeTls.createSecureContext(options);
    return options;
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const reason = (error as { reason?: string }).reason ?? message;
    throw new Error(`Problem setting TLS options: ${problem(code, reason, tls)}.`);
  }
}

function problem(code: string, reason: string, tls: ToolOptions['tls']): string {
  if (code.includes('KEY_VALUES_MISMATCH') || code.includes('KEY_TYPE_MISMATCH'))
    return `Client certificate ${tls.cert} and key ${tls.key} are inconsistent`;
  if (/cipher/i.test(code + reason)) return `Unable to set TLS ciphers ${JSON.stringify(tls.ciphers)} (${reason})`;
  const files = [tls.cafile, tls.cert, tls.key].filter((file) => file !== undefined);
  return `Unable to load ${files.length === 0 ? 'certificates' : files.join(', ')} (${reason})`;
}

function common({ tls }: ToolOptions): nodeTls.ConnectionOptions {
  return {
    minVersion: (tls.version ?? 'tlsv1.2').replace('tls', 'TLS') as nodeTls.SecureVersion,
    ...(tls.alpn === undefined ? {} : { ALPNProtocols: [tls.alpn] }),
  };
}

function readKey(path: string): Buffer {
  const bytes = read(path);
  if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(bytes.toString('latin1')))
    throw new Error(
      `Problem setting TLS options: the private key in ${path} is encrypted with a password; give a key without one.`,
    );
  return bytes;
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`Problem setting TLS options: cannot read ${path} (${(error as NodeJS.ErrnoException).code}).`);
  }
}

function readFolder(path: string): Buffer[] {
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (error) {
    throw new Error(`Problem setting TLS options: cannot read ${path} (${(error as NodeJS.ErrnoException).code}).`);
  }
  return names.filter((name) => /\.(crt|pem)$|^[0-9a-f]{8}\.\d+$/.test(name)).map((name) => read(join(path, name)));
}

function systemCertificates(): (Buffer | string)[] {
  // Node 22.15 and later
  const list = (nodeTls as { getCACertificates?: (type: 'system') => string[] }).getCACertificates?.('system') ?? [];
  if (list.length > 0) return list;
  for (const bundle of systemBundles) {
    try {
      return [readFileSync(bundle)];
    } catch {
      // the next system's place
    }
  }
  return [...nodeTls.rootCertificates];
}
