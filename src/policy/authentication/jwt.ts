/**
 * Clients that show a signed token: in CONNECT's password or user name, in a cookie of the WebSocket upgrade, or in AUTH packets, with
 * which a connected client renews it.
 *
 *   method JWT           authentication data is the token
 *   method OAUTHBEARER   RFC 7628: `n,,\x01auth=Bearer <token>\x01\x01`
 *
 * What is no token goes on along the chain; a token that does not do is refused.
 */
import type { CompactJWSHeaderParameters, JWTPayload } from 'jose';
import type { Logger } from '../../base/index.js';
import { ReasonCode } from '../../protocol/index.js';
import { type RuleInput, readRules } from '../authorization/rule.js';
import type { JwtOptions } from '../options.js';
import type { AuthenticationExchange, Client, ConnectRequest, ExchangeStep, Identity } from '../policy.js';
import { type SourceStatus, SourceUnavailable } from '../sources/guard.js';
import { JwtKeys } from './jwt-keys.js';
import { type AuthenticationSource, type Decision, identityOf, next, unavailable } from './source.js';

const TOKEN_BYTES_MAX = 65_536;
const methods = ['JWT', 'OAUTHBEARER'];

/** The token does not do; the message says why, for the log. */
class TokenRefused extends Error {}

export class JwtSource implements AuthenticationSource {
  readonly name: string;
  readonly type = 'jwt';
  private readonly keys: JwtKeys;

  constructor(
    private readonly options: JwtOptions,
    private readonly log: Logger,
    private readonly nowMs: () => number = Date.now,
  ) {
    this.name = options.name;
    this.keys = new JwtKeys(options, log, nowMs);
  }

  authenticate(request: ConnectRequest): Decision | Promise<Decision> {
    const token = this.tokenOf(request);
    if (token === undefined || !looksLikeToken(token)) return next;
    return this.decide(token, request);
  }

  beginExchange(method: string, client: Client): AuthenticationExchange | undefined {
    if (!methods.includes(method)) return undefined;
    return { step: (data) => this.step(method, data, client) };
  }

  async open(): Promise<void> {
    this.keys.open();
  }

  look(): void {
    try {
      this.keys.readFiles();
    } catch (error) {
      this.log.error('file.reload-failed', `${(error as Error).message}; what was read before stays in force`, {
        source: this.name,
      });
    }
  }

  async close(): Promise<void> {
    this.keys.close();
  }

  status(): SourceStatus {
    return this.keys.status();
  }

  private tokenOf({ username, password, cookies }: ConnectRequest): string | undefined {
    const { from, cookie } = this.options;
    if (from === 'password') return password === undefined ? undefined : Buffer.from(password).toString('latin1');
    if (from === 'username') return username;
    return cookies !== undefined && Object.hasOwn(cookies, cookie) ? cookies[cookie] : undefined;
  }

  private async decide(token: string, client: Client): Promise<Decision> {
    try {
      return { outcome: 'allow', identity: await this.verify(token, client) };
    } catch (error) {
      if (error instanceof SourceUnavailable) return unavailable(error.busy);
      if (!(error instanceof TokenRefused)) throw error;
      this.log.information('token.refused', error.message, {
        source: this.name,
        clientId: client.clientId,
        listener: client.listener,
      });
      const reasonCode = ReasonCode.BadUserNameOrPassword;
      return { outcome: 'deny', reasonCode, reasonString: 'the token is not accepted' };
    }
  }

  private async step(method: string, data: Buffer | undefined, client: Client): Promise<ExchangeStep> {
    const text = data?.toString('latin1') ?? '';
    const token = method === 'JWT' ? text : /\u0001auth=Bearer ([^\u0001]+)\u0001/i.exec(text)?.[1];
    if (token === undefined || !looksLikeToken(token))
      return { outcome: 'refused', reasonCode: ReasonCode.NotAuthorized };
    const decision = await this.decide(token, client);
    if (decision.outcome !== 'allow')
      return {
        outcome: 'refused',
        reasonCode: decision.outcome === 'deny' ? decision.reasonCode : ReasonCode.NotAuthorized,
      };
    const { identity } = decision;
    return { outcome: 'success', data: undefined, username: identity.username ?? '', identity };
  }

  /** Errors  TokenRefused, SourceUnavailable. */
  private async verify(token: string, client: Client): Promise<Identity> {
    const jose = await import('jose');
    const { options, keys } = this;
    let header: CompactJWSHeaderParameters;
    try {
      header = jose.decodeProtectedHeader(token) as CompactJWSHeaderParameters;
    } catch {
      throw new TokenRefused('it is no token');
    }
    if (typeof header.alg !== 'string' || !keys.algorithms.includes(header.alg))
      throw new TokenRefused('its signature is of a kind that is not accepted');
    const candidates = await keys.candidates(header);
    const terms = {
      algorithms: [header.alg],
      clockTolerance: options.clockToleranceSeconds,
      currentDate: new Date(this.nowMs()),
      ...((options.issuer ?? options.oidcIssuer) === undefined
        ? {}
        : { issuer: (options.issuer ?? options.oidcIssuer)! }),
      ...(options.audience.length === 0 ? {} : { audience: [...options.audience] }),
      ...(options.requireExpiry ? { requiredClaims: ['exp'] } : {}),
    };
    for (const key of candidates)
      try {
        const { payload } = await jose.jwtVerify(token, key, terms);
        return this.identify(payload, client);
      } catch (error) {
        if (error instanceof jose.errors.JWSSignatureVerificationFailed) continue;
        if (error instanceof jose.errors.JOSEError || error instanceof TypeError) throw new TokenRefused(error.message);
        throw error;
      }
    throw new TokenRefused('no key that is known has signed it');
  }

  private identify(payload: JWTPayload, client: Client): Identity {
    const { options } = this;
    const named = claimOf(payload, options.usernameClaim);
    // A token that does not say whose it is lets nobody choose a name, unless another claim was compared with the one chosen.
    const compared = Object.values(options.claims).some((value) => value.includes('%u'));
    const username = typeof named === 'string' && named !== '' ? named : compared ? client.username : undefined;
    if (username === undefined) throw new TokenRefused(`it has no claim ${options.usernameClaim}`);
    for (const [claim, wanted] of Object.entries(options.claims)) {
      const value = expand(wanted, client);
      if (value === undefined || !holds(claimOf(payload, claim), value))
        throw new TokenRefused(`its claim ${claim} does not fit`);
    }
    const { clientIdClaim, superuserClaim } = options;
    if (clientIdClaim !== undefined && claimOf(payload, clientIdClaim) !== client.clientId)
      throw new TokenRefused(`its claim ${clientIdClaim} is not the client identifier`);
    const acl = claimOf(payload, options.aclClaim);
    return identityOf(this.name, username, {
      roles: names(claimOf(payload, options.rolesClaim)),
      groups: names(claimOf(payload, options.groupsClaim)),
      attributes: attributesOf(payload),
      ...(options.disconnectAtExpiry && payload.exp !== undefined
        ? { expiresAtMs: (payload.exp + options.clockToleranceSeconds) * 1000 }
        : {}),
      ...(superuserClaim !== undefined && claimOf(payload, superuserClaim) === true ? { superuser: true } : {}),
      ...(acl === undefined ? {} : { rules: rulesOf(acl) }),
    });
  }
}

/** Three or five parts of base64url between dots; what is not goes on along the chain. */
function looksLikeToken(text: string): boolean {
  return text.length <= TOKEN_BYTES_MAX && /^[\w-]{4,}\.[\w-]+\.[\w-]*$/.test(text);
}

function rulesOf(acl: unknown): RuleInput[] {
  try {
    return readRules(acl);
  } catch (error) {
    throw new TokenRefused(`its rules cannot be used: ${(error as Error).message}`);
  }
}

/** `a.b` is `b` of the object `a`, unless there is a claim of that whole name. */
function claimOf(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  let value: unknown = payload;
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

function holds(claim: unknown, wanted: string): boolean {
  if (Array.isArray(claim)) return claim.some((entry) => holds(entry, wanted));
  return (
    (typeof claim === 'string' || typeof claim === 'number' || typeof claim === 'boolean') && String(claim) === wanted
  );
}

/** Undefined when the client lacks what is named. */
function expand(text: string, { username, clientId, listener, address }: Client): string | undefined {
  let missing = false;
  const expanded = text.replace(/%([ucla%])/g, (_, letter: string) => {
    const value = { u: username, c: clientId, l: listener, a: address, '%': '%' }[letter];
    if (value === undefined) missing = true;
    return value ?? '';
  });
  return missing ? undefined : expanded;
}

function names(claim: unknown): string[] {
  if (typeof claim === 'string') return claim.split(/[\s,]+/).filter((name) => name !== '');
  return Array.isArray(claim) ? claim.filter((name) => typeof name === 'string') : [];
}

/** Claims that are plain values, for rules that name them. */
function attributesOf(payload: JWTPayload): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [name, value] of Object.entries(payload))
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      attributes[name] = String(value);
  return attributes;
}
