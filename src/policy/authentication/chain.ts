/**
 * The chain: asks the sources of a listener in order until one allows or denies. The end of the chain denies, but for clients without a user
 * name where the listener allows anonymous ones.
 */
import type { Logger } from '../../base/index.js';
import { ReasonCode } from '../../protocol/index.js';
import type { Admission, AuthenticationExchange, Client, ConnectRequest, ExchangeStep } from '../policy.js';
import { type SourceStatus, SourceUnavailable } from '../sources/guard.js';
import { type AuthenticationSource, type Decision, unavailable } from './source.js';

const admitted: Admission = { reasonCode: ReasonCode.Success };
const badLogin: Admission = { reasonCode: ReasonCode.BadUserNameOrPassword, reasonString: 'bad user name or password' };
const anonymousRefused: Admission = {
  reasonCode: ReasonCode.NotAuthorized,
  reasonString: 'this listener asks for a user name',
};

export interface ExplainedLogin {
  readonly source: string;
  readonly type: string;
  readonly outcome: 'allow' | 'deny' | 'next';
  readonly reasonString?: string;
}

export class AuthenticationChain {
  /** Logins by how they ended. */
  readonly counts = { allowed: 0, denied: 0, unavailable: 0 };
  sources: readonly AuthenticationSource[] = [];
  private byListener: ReadonlyMap<string, readonly AuthenticationSource[]> = new Map();
  private generation = 0;

  /** `knowsNobody`: no source knows users, so a user name counts for nothing where anonymous clients are allowed. */
  constructor(
    private readonly knowsNobody: () => boolean,
    private readonly log: Logger,
  ) {}

  /** These sources from now on, for logins too that wait for an answer of others. `byListener`: those that count there, where not all do. */
  replace(
    sources: readonly AuthenticationSource[],
    byListener: ReadonlyMap<string, readonly AuthenticationSource[]>,
  ): void {
    this.sources = sources;
    this.byListener = byListener;
    this.generation++;
  }

  authenticate(request: ConnectRequest): Admission | Promise<Admission> {
    const { generation } = this;
    const admission = this.ask(this.sourcesOf(request.listener), request, 0, undefined, undefined);
    if (!(admission instanceof Promise)) return this.count(admission);
    return admission.then((known) => (generation === this.generation ? this.count(known) : this.authenticate(request)));
  }

  /** The exchange of the first source that offers the method; those before it may refuse the client, as they may at a login by password. */
  beginExchange(method: string, client: Client): AuthenticationExchange | undefined {
    const { generation } = this;
    const sources = this.sourcesOf(client.listener);
    for (const [index, source] of sources.entries()) {
      const exchange = source.beginExchange?.(method, client);
      if (exchange === undefined) continue;
      let screened = false;
      return {
        step: async (data) => {
          const refused = screened ? undefined : await this.screen(sources.slice(0, index), client);
          screened = true;
          let step: ExchangeStep = refused ?? (await exchange.step(data));
          // Other sources have taken the place of those that were asked: the client may begin anew with them.
          if (generation !== this.generation) step = { outcome: 'refused', reasonCode: ReasonCode.ServerBusy };
          if (step.outcome === 'success') this.count(admitted);
          else if (step.outcome === 'refused') this.count(step);
          return step;
        },
      };
    }
    return undefined;
  }

  /** What each source says to a login, with the same effects as a login. */
  async explain(request: ConnectRequest): Promise<{ admission: Admission; steps: ExplainedLogin[] }> {
    const steps: ExplainedLogin[] = [];
    const admission = await this.ask(
      this.sourcesOf(request.listener),
      request,
      0,
      undefined,
      ({ name, type }, decision) =>
        steps.push({
          source: name,
          type,
          outcome: decision.outcome,
          ...(decision.outcome === 'deny' ? { reasonString: decision.reasonString } : {}),
        }),
    );
    return { admission, steps };
  }

  /** Errors  Fault when a source cannot begin, such as a password file that is not there. */
  async open(): Promise<void> {
    for (const source of this.sources) await source.open?.();
  }

  async close(): Promise<void> {
    await Promise.all(this.sources.map((source) => source.close?.()));
  }

  status(): SourceStatus[] {
    return this.sources.map((source) => source.status());
  }

  private sourcesOf(listener: string): readonly AuthenticationSource[] {
    return this.byListener.get(listener) ?? this.sources;
  }

  /** Whether one of these sources refuses a client of whom neither user name nor password are known yet. */
  private async screen(
    sources: readonly AuthenticationSource[],
    client: Client,
  ): Promise<(ExchangeStep & { outcome: 'refused' }) | undefined> {
    const request = { ...client, username: undefined, password: undefined, allowAnonymous: false };
    for (const source of sources) {
      let decision: Decision;
      try {
        decision = await source.authenticate(request);
      } catch (error) {
        decision = this.failure(source, error);
      }
      if (decision.outcome === 'deny') return { outcome: 'refused', reasonCode: decision.reasonCode };
    }
    return undefined;
  }

  private ask(
    sources: readonly AuthenticationSource[],
    request: ConnectRequest,
    from: number,
    veiled: Admission | undefined,
    onStep: ((source: AuthenticationSource, decision: Decision) => void) | undefined,
  ): Admission | Promise<Admission> {
    let refused = veiled;
    for (let index = from; index < sources.length; index++) {
      const source = sources[index]!;
      let decision: Decision | Promise<Decision>;
      try {
        decision = source.authenticate(request);
      } catch (error) {
        decision = this.failure(source, error);
      }
      if (decision instanceof Promise)
        return decision
          .catch((error: unknown) => this.failure(source, error))
          .then((known) => {
            onStep?.(source, known);
            const ended = this.end(known, refused);
            if (ended !== undefined) return ended;
            if (known.outcome === 'deny') refused ??= badLogin;
            return this.ask(sources, request, index + 1, refused, onStep);
          });
      onStep?.(source, decision);
      const ended = this.end(decision, refused);
      if (ended !== undefined) return ended;
      if (decision.outcome === 'deny') refused ??= badLogin;
    }
    if (refused !== undefined) return refused;
    if (request.username === undefined) return request.allowAnonymous ? admitted : anonymousRefused;
    return request.allowAnonymous && this.knowsNobody() ? admitted : badLogin;
  }

  /** How the login ends with this decision; undefined when the chain goes on. */
  private end(decision: Decision, refused: Admission | undefined): Admission | undefined {
    if (decision.outcome === 'next' || (decision.outcome === 'deny' && decision.veiled)) return undefined;
    if (decision.outcome === 'allow')
      return refused === undefined ? { reasonCode: ReasonCode.Success, identity: decision.identity } : undefined;
    return { reasonCode: decision.reasonCode, reasonString: decision.reasonString };
  }

  private failure(source: AuthenticationSource, error: unknown): Decision {
    if (!(error instanceof SourceUnavailable))
      this.log.error('authentication.failed', `a source failed: ${String(error)}`, { source: source.name });
    return unavailable(error instanceof SourceUnavailable && error.busy);
  }

  private count<Counted extends Pick<Admission, 'reasonCode'>>(admission: Counted): Counted {
    const { reasonCode } = admission;
    if (reasonCode === ReasonCode.Success) this.counts.allowed++;
    else if (reasonCode === ReasonCode.ServerUnavailable || reasonCode === ReasonCode.ServerBusy)
      this.counts.unavailable++;
    else this.counts.denied++;
    return admission;
  }
}
