/**
 * Who published what is retained, and whether they might still publish it: asked whenever a subscription would get it.
 *
 * Client identifier, user name and listener are kept with a message. They are asked about as a client of these three would be, with what
 * the users of its listener say of the name now. Nobody is asked about messages without a source: those of the broker, of bridges, of the
 * embedding program, and those from before the check was on.
 */
import type { Logger } from '../base/index.js';
import { mountPointOf, type RetainedSources as Sources } from '../connection/index.js';
import type { Client, Identity, Policy } from '../policy/index.js';
import type { Message, MessageSource } from '../protocol/index.js';

/** Clients made of sources that are kept: what was decided for them hangs on them. */
const CLIENTS_MAX = 1000;

export interface RetainedSourcesOptions {
  readonly on: boolean;
  readonly authorize: Policy['authorizePublish'];
  readonly identityOf: (username: string, listener: string) => Identity | undefined;
  /** The pattern of a listener; empty for one that has none or is gone. */
  readonly mountPointOf: (listener: string) => string;
  readonly log: Logger;
}

interface Known {
  readonly client: Client;
  readonly mountPoint: string;
}

export class RetainedSources implements Sources {
  /** Whether sources are kept and asked about. */
  on: boolean;
  private readonly noted = new WeakMap<Client, MessageSource>();
  private readonly known = new Map<string, Known>();

  constructor(private readonly options: RetainedSourcesOptions) {
    this.on = options.on;
  }

  of(client: Client): MessageSource | undefined {
    if (!this.on) return undefined;
    let source = this.noted.get(client);
    if (source !== undefined) return source;
    const { clientId, username, listener, identity } = client;
    // What a login service or a token said once cannot be asked for again.
    if (identity?.superuser === true && !this.isSuperuser(username, listener)) return undefined;
    source = { clientId, username, listener };
    this.noted.set(client, source);
    return source;
  }

  readonly mayDeliver = (message: Message): boolean | Promise<boolean> => {
    const { source, topicName, qos } = message;
    if (!this.on || source === undefined) return true;
    const { client, mountPoint } = this.knownOf(source);
    // Rules are written in the names that clients use.
    const ownName = topicName.startsWith(mountPoint) ? topicName.slice(mountPoint.length) : topicName;
    const verdict = this.options.authorize(client, ownName, qos, true);
    if (typeof verdict === 'number') return verdict < 0x80;
    return verdict.then(
      (reasonCode) => reasonCode < 0x80,
      (error: unknown) => {
        const { clientId } = client;
        this.options.log.error('retained.unauthorized', `no verdict on a source: ${String(error)}`, {
          clientId,
          topicName,
        });
        return false; // a source that fails lets nothing through
      },
    );
  };

  /** Users may be others than they were. */
  forget(): void {
    this.known.clear();
  }

  private isSuperuser(username: string | undefined, listener: string): boolean {
    return username !== undefined && this.options.identityOf(username, listener)?.superuser === true;
  }

  private knownOf({ clientId, username, listener }: MessageSource): Known {
    const key = `${clientId}\0${listener}${username === undefined ? '' : `\0${username}`}`;
    const found = this.known.get(key);
    if (found !== undefined) return found;
    const identity = username === undefined ? undefined : this.options.identityOf(username, listener);
    const client: Client = {
      clientId,
      username,
      listener,
      protocolVersion: 5,
      address: '',
      ...(identity === undefined ? {} : { identity }),
    };
    const known = { client, mountPoint: mountPointOf(this.options.mountPointOf(listener), client) ?? '' };
    if (this.known.size >= CLIENTS_MAX) this.known.clear();
    this.known.set(key, known);
    return known;
  }
}
