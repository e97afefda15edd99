/**
 * A directory: finds the distinguished name of the user (made from a pattern, or searched for), fetches its groups, and binds as
 * the user with the password. Groups become groups of the identity.
 *
 * An empty password is never tried: to a directory that is an anonymous bind, which succeeds. An unknown user costs a bind with a
 * name that does not exist.
 */
import { readFileSync } from 'node:fs';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectSecure } from 'node:tls';
import type { Client as LdapClient } from 'ldapts';
import type { Logger } from '../../base/index.js';
import type { LdapOptions } from '../options.js';
import type { ConnectRequest } from '../policy.js';
import { Template } from '../sources/template.js';
import { ExternalSource } from './external.js';
import { comparedAttributes, namingAttribute, oneName, valuesOf } from './ldap-names.js';
import { type Decision, denied, identityOf, next, wrongPassword } from './source.js';

const GROUPS_MAX = 1000;

interface FoundUser {
  readonly dn: string;
  /** Values of what its name is compared with. */
  readonly names?: readonly string[];
}

export class LdapSource extends ExternalSource<ConnectRequest> {
  private readonly userDn: Template | undefined;
  private readonly searchFilter: Template;
  /** Where the directory has the user name. */
  private readonly nameAttributes: readonly string[];
  /** Connections that wait for their next request. */
  private readonly idle: LdapClient[] = [];

  constructor(
    private readonly options: LdapOptions,
    log: Logger,
  ) {
    super(options, 'ldap', log);
    this.userDn = options.userDn === undefined ? undefined : new Template(options.userDn, 'login');
    this.searchFilter = new Template(options.searchFilter, 'login');
    this.nameAttributes =
      options.userDn === undefined ? comparedAttributes(options.searchFilter) : namingAttribute(options.userDn);
  }

  protected async disconnect(): Promise<void> {
    await Promise.all(this.idle.splice(0).map((client) => client.unbind().catch(() => {})));
  }

  protected prepareRequest(request: ConnectRequest): { request: ConnectRequest; key: unknown } | undefined {
    const { username, password } = request;
    if (username === undefined || username === '' || password === undefined || password.length === 0) return undefined;
    const facts = { client: request };
    const asked = (this.userDn ?? this.searchFilter).fill(facts);
    return asked === undefined ? undefined : { request, key: asked };
  }

  protected ask(request: ConnectRequest): Promise<Decision> {
    return this.guard.run(async (signal) => {
      const client = this.takeIdle() ?? (await this.dial(signal));
      const drop = (): void => void client.unbind().catch(() => {});
      signal.addEventListener('abort', drop);
      try {
        const decision = await this.login(client, request);
        if (signal.aborted) drop();
        else this.idle.push(client);
        return decision;
      } catch (error) {
        drop();
        throw error;
      } finally {
        signal.removeEventListener('abort', drop);
      }
    });
  }

  private async login(client: LdapClient, request: ConnectRequest): Promise<Decision> {
    const { InvalidCredentialsError } = await import('ldapts');
    const found: FoundUser | undefined =
      this.userDn === undefined
        ? await this.search(client, request)
        : { dn: this.userDn.fill({ client: request }, escapeDn)! };
    const password = Buffer.from(request.password!).toString('utf8');
    // The driver takes such a name for a SASL mechanism.
    if (found !== undefined && /^[A-Z0-9-]*$/.test(found.dn)) return next;
    const dn = found?.dn ?? `cn=${escapeDn(`nobody-${request.username}`)},${this.options.searchBase ?? ''}`;
    try {
      await client.bind(dn, password);
    } catch (error) {
      // Some directories say that there is no such entry.
      const refused = error instanceof InvalidCredentialsError || noSuchUser(error);
      if (!refused) throw error;
      return found === undefined ? next : wrongPassword;
    }
    if (found === undefined) return next;
    const { dn: writtenDn, names } = found.names === undefined ? await this.entryOf(client, found.dn) : found;
    const username = oneName(request.username!, names ?? []);
    if (username === undefined) return unnamed;
    const groups = await this.groupsOf(client, found.dn, request);
    const { superuserGroup } = this.options;
    const superuser = superuserGroup !== undefined && groups.includes(superuserGroup);
    return {
      outcome: 'allow',
      identity: identityOf(this.name, username, {
        groups,
        attributes: { dn: writtenDn },
        ...(superuser ? { superuser } : {}),
      }),
    };
  }

  private async search(client: LdapClient, request: ConnectRequest): Promise<FoundUser | undefined> {
    const { searchBase } = this.options;
    await this.bindAsBroker(client);
    const filter = this.searchFilter.fill({ client: request }, escapeFilter)!;
    const { searchEntries } = await client.search(searchBase!, {
      scope: 'sub',
      filter,
      attributes: this.nameAttributes.length === 0 ? ['dn'] : [...this.nameAttributes],
      sizeLimit: 2,
    });
    // Two that fit are nobody: there is no telling which one was meant.
    const [entry, ...others] = searchEntries;
    if (entry === undefined || others.length > 0) return undefined;
    return { dn: entry.dn, names: valuesOf(entry, this.nameAttributes) };
  }

  /** An entry as its user, who has just been bound, may read it, else as the broker; `dn` alone where neither may. */
  private async entryOf(client: LdapClient, dn: string): Promise<FoundUser> {
    if (this.nameAttributes.length === 0) return { dn };
    const read = async (): Promise<FoundUser> => {
      try {
        const { searchEntries } = await client.search(dn, { scope: 'base', attributes: [...this.nameAttributes] });
        const [entry] = searchEntries;
        return entry === undefined ? { dn } : { dn: entry.dn, names: valuesOf(entry, this.nameAttributes) };
      } catch (error) {
        if (mayNotRead(error)) return { dn };
        throw error;
      }
    };
    const entry = await read();
    if ((entry.names ?? []).length > 0 || this.options.bindDn === undefined) return entry;
    await this.bindAsBroker(client);
    return read();
  }

  private async groupsOf(client: LdapClient, dn: string, request: ConnectRequest): Promise<string[]> {
    const { groupBase, groupFilter, groupAttribute, bindDn } = this.options;
    if (groupBase === undefined) return [];
    // Without a name of its own the broker searches as the user, who has just been bound.
    if (bindDn !== undefined) await this.bindAsBroker(client);
    const pieces = groupFilter
      .split('${dn}')
      .map((piece) => new Template(piece, 'login').fill({ client: request }, escapeFilter)!);
    const { searchEntries } = await client.search(groupBase, {
      scope: 'sub',
      filter: pieces.join(escapeFilter(dn)),
      attributes: [groupAttribute],
      sizeLimit: GROUPS_MAX,
    });
    return searchEntries.flatMap((entry) => {
      const value = entry[groupAttribute];
      return (Array.isArray(value) ? value : [value]).flatMap((name) => (name === undefined ? [] : [String(name)]));
    });
  }

  private async bindAsBroker(client: LdapClient): Promise<void> {
    const { InvalidCredentialsError } = await import('ldapts');
    const { bindDn, bindPassword } = this.options;
    try {
      await client.bind(bindDn ?? '', bindPassword ?? '');
    } catch (error) {
      throw error instanceof InvalidCredentialsError ? new Error('bindDn and bindPassword are not accepted') : error;
    }
  }

  private takeIdle(): LdapClient | undefined {
    for (;;) {
      const client = this.idle.pop();
      if (client === undefined || client.isConnected) return client;
    }
  }

  private async dial(signal: AbortSignal): Promise<LdapClient> {
    const { Client } = await import('ldapts');
    const { url, timeoutMs, startTls, caFile } = this.options;
    const tlsOptions = caFile === undefined ? {} : { ca: [readFileSync(caFile)] };
    const secure = url.startsWith('ldaps:');
    let socket: Socket | undefined;
    const connectOnce = once(connect);
    const client = new Client({
      url,
      timeout: timeoutMs,
      connectTimeout: timeoutMs,
      createConnection: ((...given: Parameters<typeof connect>) => {
        socket = connectOnce(...given);
        return socket;
      }) as typeof connect,
      ...(secure ? { tlsOptions, createSecureConnection: once(connectSecure) } : {}),
    });
    // An address is no server name, but has to be in the certificate all the same.
    const { hostname } = new URL(url);
    const name = isIP(hostname.replace(/^\[|\]$/g, '')) === 0 ? { servername: hostname } : { host: hostname };
    if (!startTls) return client;
    // The driver leaves the connection open when the directory refuses to go over to TLS, or falls silent over it.
    const giveUp = (): void => void socket?.destroy();
    signal.addEventListener('abort', giveUp);
    try {
      await client.startTLS({ ...tlsOptions, ...name });
      return client;
    } catch (error) {
      giveUp();
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }
}

/**
 * The driver connects again by itself when a connection is lost, but neither goes over to TLS again nor is who it was: the next
 * password would travel in the clear. So a connection is made once, and whoever finds it lost makes another client.
 */
function once<Make extends typeof connect | typeof connectSecure>(make: Make): Make {
  let made = false;
  return ((...given: unknown[]) => {
    if (made) throw new Error('the connection is lost');
    made = true;
    return (make as (...given: unknown[]) => unknown)(...given);
  }) as Make;
}

const unnamed = denied(
  'the directory does not say how this user name is written: only small ASCII letters without blanks around are taken',
);

function noSuchUser(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  // noSuchObject, invalidDNSyntax
  return code === 32 || code === 34;
}

function mayNotRead(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  // insufficientAccessRights, unwillingToPerform; operationsError is what Active Directory says
  return noSuchUser(error) || code === 50 || code === 53 || code === 1;
}

/** RFC 4515 §3 */
export function escapeFilter(value: string): string {
  return value.replace(/[\\*()\u0000]/g, (character) => `\\${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** RFC 4514 §2.4 */
export function escapeDn(value: string): string {
  return value
    .replace(/[\\,+"<>;=]/g, (character) => `\\${character}`)
    .replace(/\u0000/g, '\\00')
    .replace(/^[ #]/, (character) => `\\${character}`)
    .replace(/ $/, '\\ ');
}
