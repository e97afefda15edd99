/** Listeners: where they are, which protocol they speak, what their clients may do, TLS. */
import { quoted } from '../../base/index.js';
import { isHost } from '../address.js';
import type { Draft } from './draft.js';
import type { Line, Remarks } from './remarks.js';
import type { Block, ListenerBlock, Sections } from './sections.js';

const CONNECTIONS_MOST = 10_000_000;

/** A listener as it will stand in the configuration, for whatever else has to be said of it. */
export interface MappedListener {
  readonly path: string;
  readonly name: string;
  readonly source: ListenerBlock;
  /** The block whose settings of security hold here. */
  readonly security: Block;
  readonly localOnly: boolean;
  readonly secure: boolean;
}

interface Place {
  readonly port: number;
  readonly host: string | undefined;
  readonly unixPath: string | undefined;
  readonly line: Line | undefined;
}

/** What stands ahead of the first `listener` makes a listener of its own, except where there is nothing of that kind. */
export function mapListeners(sections: Sections, draft: Draft, remarks: Remarks): MappedListener[] {
  const { global, defaultListener, listeners, security, perListener } = sections;
  const given = global.line('port') ?? global.line('bind_address');
  const localOnly = listeners.length === 0 && given === undefined && defaultListener.block.empty;
  const sources = listeners.map((source) => ({ source, place: placeOf(source.block.begin!, remarks) }));
  if (localOnly)
    sources.push({
      source: defaultListener,
      place: { port: 1883, host: '127.0.0.1', unixPath: undefined, line: undefined },
    });
  else if (given !== undefined || !defaultListener.block.empty || (perListener && makesListener(defaultListener)))
    sources.push({
      source: defaultListener,
      place: {
        port: global.integer('port', 1, 65_535) ?? 1883,
        host: global.text('bind_address'),
        unixPath: undefined,
        line: given,
      },
    });
  const names = new Set<string>();
  const mapped: MappedListener[] = [];
  for (const { source, place } of sources) {
    const listener = mapListener(source, place, mapped.length, names, draft, remarks);
    if (listener !== undefined)
      mapped.push({ ...listener, source, security: perListener ? source.security : security, localOnly });
  }
  if (mapped.length === 0) draft.set('listeners', [], undefined);
  return mapped;
}

/** With `per_listener_settings`, these ahead of the first listener are of the default one, and so there is one. */
function makesListener({ security }: ListenerBlock): boolean {
  return ['password_file', 'psk_file', 'acl_file', 'allow_zero_length_clientid'].some(
    (name) => security.line(name) !== undefined,
  );
}

/** A place in any case: what else is wrong with the listener is to be said too. */
function placeOf(line: Line, remarks: Remarks): Place {
  const [, port = '', where] = /^(\S+)(?:\s+(.+))?$/.exec(line.value)!;
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    remarks.problem(line, `found ${quoted(port)}, allowed is a port from 0 to 65535`);
    return { port: 1883, host: undefined, unixPath: undefined, line };
  }
  if (Number(port) === 0) {
    if (where !== undefined) return { port: 0, host: undefined, unixPath: where, line };
    remarks.problem(line, 'port 0 needs the path of a Unix socket behind it');
    return { port: 1883, host: undefined, unixPath: undefined, line };
  }
  if (where !== undefined && !isHost(where)) {
    remarks.problem(line, `found ${quoted(where)}, allowed is an IP address or a host name`);
    return { port: Number(port), host: undefined, unixPath: undefined, line };
  }
  return { port: Number(port), host: where, unixPath: undefined, line };
}

function mapListener(
  { block }: ListenerBlock,
  place: Place,
  index: number,
  names: Set<string>,
  draft: Draft,
  remarks: Remarks,
): Pick<MappedListener, 'path' | 'name' | 'secure'> | undefined {
  const protocol = block.choice('protocol', ['mqtt', 'websockets', 'http_api']) ?? 'mqtt';
  const protocolLine = block.line('protocol');
  if (protocol === 'http_api') {
    remarks.warn(protocolLine!, `a listener with ${protocol} is not opened: this broker has none`);
    return undefined;
  }
  const path = `listeners[${index}]`;
  const from = place.line ?? block.begin;
  const set = (key: string, name: string, value: unknown) => draft.set(`${path}.${key}`, value, block.line(name));
  const webSocket = protocol === 'websockets';
  const hasCertificate = block.line('certfile') !== undefined || block.line('keyfile') !== undefined;
  const secure = hasCertificate || block.line('psk_hint') !== undefined;
  const spoken = webSocket ? (secure ? 'wss' : 'ws') : secure ? 'mqtts' : 'mqtt';
  const name = uniqueName(`${spoken}-${place.unixPath === undefined ? place.port : 'unix'}`, names);
  draft.set(`${path}.name`, name, from);
  draft.origins.set(path, from ?? block.line('protocol') ?? { name: 'listener', value: '', file: '', line: 0 });
  if (from === undefined) draft.origins.delete(path);
  draft.set(`${path}.protocol`, spoken, protocolLine ?? from);
  mapPlace(block, place, path, draft);
  if (webSocket) {
    draft.set(`${path}.path`, '*', protocolLine);
    const origins = block.all('websockets_origin');
    if (origins.length > 0)
      draft.set(
        `${path}.origins`,
        origins.map(({ value }) => value.replace(/\/$/, '')),
        origins[0],
      );
    set('httpFolder', 'http_dir', block.text('http_dir'));
  } else
    for (const only of ['websockets_origin', 'http_dir'])
      if (block.line(only) !== undefined)
        remarks.warn(block.line(only)!, 'has no effect on a listener without protocol websockets');
  mapClients(block, path, draft, remarks);
  const proxy = block.integer('enable_proxy_protocol', 1, 2);
  if (proxy !== undefined) {
    set('proxyProtocol', 'enable_proxy_protocol', `v${proxy}`);
    for (const not of ['require_certificate', 'use_identity_as_username', 'use_subject_as_username'])
      if (block.flag(not) === true && !secure)
        remarks.problem(
          block.line(not)!,
          'what a proxy says of the certificates of clients cannot be taken; end TLS here, or do without',
        );
  }
  set('proxyTls', 'proxy_protocol_v2_require_tls', block.flag('proxy_protocol_v2_require_tls'));
  return { path, name, secure };
}

function mapPlace(block: Block, { port, host, unixPath, line }: Place, path: string, draft: Draft): void {
  if (unixPath !== undefined) {
    draft.set(`${path}.unixPath`, unixPath, line);
    return;
  }
  const domain = block.choice('socket_domain', ['ipv4', 'ipv6']);
  draft.set(`${path}.host`, host ?? (domain === 'ipv4' ? '0.0.0.0' : '::'), line ?? block.line('socket_domain'));
  draft.set(`${path}.port`, port, line);
  if (domain === 'ipv6') draft.set(`${path}.ipv6Only`, true, block.line('socket_domain'));
  const device = block.text('bind_interface');
  if (device !== undefined) draft.set(`${path}.interface`, device, block.line('bind_interface'));
}

const versions: Readonly<Record<string, string>> = { '3': '3.1', '4': '3.1.1', '5': '5.0' };

function mapClients(block: Block, path: string, draft: Draft, remarks: Remarks): void {
  const set = (key: string, name: string, value: unknown) => draft.set(`${path}.${key}`, value, block.line(name));
  const accepted = block.line('accept_protocol_versions');
  if (accepted !== undefined) {
    const words = accepted.value.split(/[\s,]+/).filter((word) => word !== '');
    const found = words.map((word) => versions[word]);
    if (found.includes(undefined) || found.length === 0)
      remarks.problem(accepted, `found ${quoted(accepted.value)}, allowed are 3, 4 and 5, separated by commas`);
    else draft.set(`${path}.protocolVersions`, [...new Set(found)].sort(), accepted);
  }
  const connections = block.integer('max_connections', -1, CONNECTIONS_MOST);
  if (connections === 0)
    remarks.problem(block.line('max_connections')!, 'found 0, allowed is -1 or a whole number from 1');
  draft.set(
    `${path}.connectionsMax`,
    connections === undefined || connections === -1 ? CONNECTIONS_MOST : Math.max(1, connections),
    block.line('max_connections'),
  );
  set('maximumQoS', 'max_qos', block.integer('max_qos', 0, 2));
  set('topicAliasMaximum', 'max_topic_alias', block.integer('max_topic_alias', 0, 65_535));
  set('topicAliasMaximumToClients', 'max_topic_alias_broker', block.integer('max_topic_alias_broker', 0, 65_535));
  const mountPoint = block.line('mount_point');
  if (mountPoint !== undefined) {
    // Here these stand for user name and client identifier; there for themselves.
    if (/%[uc]/.test(mountPoint.value))
      remarks.problem(mountPoint, 'holds %u or %c, which would stand for the user name or the client identifier here');
    else draft.set(`${path}.mountPoint`, mountPoint.value, mountPoint);
  }
  set('usernameAsClientId', 'use_username_as_clientid', block.flag('use_username_as_clientid'));
}

function uniqueName(wanted: string, names: Set<string>): string {
  let name = wanted;
  for (let number = 2; names.has(name); number++) name = `${wanted}-${number}`;
  names.add(name);
  return name;
}
