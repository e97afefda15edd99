/**
 * A login service. Its answer, in JSON:
 *
 *   result            allow, deny or ignore (the chain goes on)
 *   username          the user from now on
 *   is_superuser, roles, groups, administration
 *   expire_at         seconds since the Unix epoch
 *   acl               rules, for the source of type `identity`
 *   client_attrs      texts, for rules with `%{attribute.name}`
 *
 * Without a body the status answers: 200 and 204 allow, 401 and 403 deny, 404 passes on. Anything else is no answer.
 */
import type { Logger } from '../../base/index.js';
import { readRules } from '../authorization/rule.js';
import type { HttpOptions } from '../options.js';
import type { ConnectRequest, Identity } from '../policy.js';
import { HttpCall, HttpClient, type HttpRequest, resultOf } from '../sources/http-client.js';
import { flagOf, listOf, textOf } from '../sources/rows.js';
import { ExternalSource } from './external.js';
import { type Decision, identityOf, next, wrongPassword } from './source.js';

export class HttpSource extends ExternalSource<HttpRequest> {
  private readonly call: HttpCall;
  private readonly client: HttpClient;

  constructor(options: HttpOptions, log: Logger) {
    super(options, 'http', log);
    this.call = new HttpCall(options, 'login');
    this.client = new HttpClient({ connectionsMax: options.requestsMax, caFile: options.caFile });
  }

  protected async disconnect(): Promise<void> {
    this.client.close();
  }

  protected prepareRequest(request: ConnectRequest): { request: HttpRequest; key: unknown } | undefined {
    const filled = this.call.fill({ client: request, password: request.password });
    return filled === undefined ? undefined : { request: filled, key: filled };
  }

  protected async ask(asked: HttpRequest, request: ConnectRequest): Promise<Decision> {
    const answer = await this.guard.run(async (signal) => resultOf(await this.client.send(asked, signal)));
    return this.decide(answer, request);
  }

  /** Errors  Error when the answer cannot be used: that concerns one client, not the service. */
  private decide({ result, more }: ReturnType<typeof resultOf>, request: ConnectRequest): Decision {
    if (result === 'ignore') return next;
    if (result === 'deny') return wrongPassword;
    const superuser = flagOf(more, false, 'is_superuser', 'superuser');
    const administration = textOf(more, 'administration');
    const expires = textOf(more, 'expire_at', 'expires_at');
    const expiresAtMs = expires === undefined ? undefined : secondsOf(expires) * 1000;
    if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) return wrongPassword;
    const identity: Identity = identityOf(this.name, textOf(more, 'username') ?? request.username, {
      roles: listOf(more, 'roles'),
      groups: listOf(more, 'groups'),
      attributes: textsOf(more.client_attrs),
      ...(superuser ? { superuser } : {}),
      ...(administration === 'viewer' || administration === 'operator' || administration === 'admin'
        ? { administration }
        : {}),
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
      ...(more.acl === undefined ? {} : { rules: readRules(more.acl) }),
    });
    return { outcome: 'allow', identity };
  }
}

function secondsOf(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value)) throw new Error('expire_at is no number of seconds');
  return value;
}

function textsOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, entry]) => (typeof entry === 'object' ? [] : [[name, String(entry)]])),
  );
}
