/**
 * The decisions of an embedding program, such that nothing but a clear yes lets anybody do anything. What throws, answers with a value that is none, or
 * with a promise where there cannot be one, refuses, and harms nobody but the client that is asked about.
 *
 * Shape  what may take its time is refused by a rejected promise, which whoever asked has to handle anyway
 */
import { Fault, type Logger, quoted } from '../base/index.js';
import type { Admission, Policy } from '../policy/index.js';
import {
  PacketType,
  type PubackReasonCode,
  type QoS,
  reasonCodeAllowed,
  type SubackReasonCode,
} from '../protocol/index.js';

export const policyFunctions = [
  'authenticate',
  'beginExchange',
  'authorizePublish',
  'authorizeSubscribe',
  'authorizeReceive',
  'authorizeUnsubscribe',
  'onChange',
] as const;
const denyActions: readonly unknown[] = ['ignore', 'disconnect', undefined];

/** At most one line about answers at once, for each question: a run of messages asks many times. */
const TELL_AGAIN_MS = 1000;

/** Errors  `Fault` OPTIONS_INVALID naming what is no policy. */
export function checkPolicy(given: Partial<Policy>): void {
  for (const name of policyFunctions) {
    const type = typeof given[name];
    if (type !== 'function' && type !== 'undefined')
      throw new Fault('OPTIONS_INVALID', `policy.${name}: found a value of type ${type}, allowed is a function`);
  }
  if (!denyActions.includes(given.denyAction))
    throw new Fault(
      'OPTIONS_INVALID',
      `policy.denyAction: found ${quoted(String(given.denyAction))}, allowed is ignore or disconnect`,
    );
}

/** The same policy, asked with care. */
export function checkedPolicy(given: Partial<Policy>, log: Logger): Partial<Policy> {
  const { authenticate, beginExchange, authorizePublish, authorizeSubscribe, authorizeReceive, authorizeUnsubscribe } =
    given;
  const { denyAction, onChange } = given;
  return {
    ...(authenticate && {
      authenticate: (request) => answerOf('authenticate', isAdmission, () => authenticate.call(given, request)),
    }),
    ...(beginExchange && { beginExchange: beginExchange.bind(given) }),
    ...(authorizePublish && {
      authorizePublish: (client, topicName, qos, retain) =>
        answerOf('authorizePublish', isPublishVerdict, () =>
          authorizePublish.call(given, client, topicName, qos, retain),
        ),
    }),
    ...(authorizeSubscribe && {
      authorizeSubscribe: (client, topicFilter, qos: QoS) =>
        answerOf('authorizeSubscribe', isSubscribeVerdict, () =>
          authorizeSubscribe.call(given, client, topicFilter, qos),
        ),
    }),
    ...(authorizeReceive && {
      authorizeReceive: yesOrNo('authorizeReceive', authorizeReceive.bind(given), log),
    }),
    ...(authorizeUnsubscribe && {
      authorizeUnsubscribe: yesOrNo('authorizeUnsubscribe', authorizeUnsubscribe.bind(given), log),
    }),
    ...(denyAction && { denyAction }),
    ...(onChange && { onChange: onChange.bind(given) }),
  };
}

function answerOf<Answer>(
  name: string,
  fits: (value: unknown) => boolean,
  ask: () => Answer | Promise<Answer>,
): Answer | Promise<Answer> {
  let answer: Answer | Promise<Answer>;
  try {
    answer = ask();
  } catch (error) {
    return Promise.reject(error);
  }
  if (fits(answer)) return answer;
  if (!isThenable(answer)) return Promise.reject(noAnswer(name, answer));
  return Promise.resolve(answer).then((later) => {
    if (!fits(later)) throw noAnswer(name, later);
    return later;
  });
}

function yesOrNo<Question extends unknown[]>(
  name: string,
  ask: (...question: Question) => boolean,
  log: Logger,
): (...question: Question) => boolean {
  let toldAt = Number.NEGATIVE_INFINITY;
  const tell = (error: unknown): void => {
    if (performance.now() - toldAt < TELL_AGAIN_MS) return;
    toldAt = performance.now();
    log.error('policy.failed', String(error));
  };
  return (...question) => {
    try {
      const answer: unknown = ask(...question);
      if (typeof answer === 'boolean') return answer;
      if (isThenable(answer)) answer.then(undefined, tell);
      tell(noAnswer(name, answer));
    } catch (error) {
      tell(error);
    }
    return false;
  };
}

const isPublishVerdict = (value: unknown): value is PubackReasonCode =>
  value === 0 || (isRefusal(value) && reasonCodeAllowed(PacketType.Puback, value, 'client'));

const isSubscribeVerdict = (value: unknown): value is SubackReasonCode =>
  typeof value === 'number' && reasonCodeAllowed(PacketType.Suback, value, 'client');

function isAdmission(value: unknown): value is Admission {
  if (typeof value !== 'object' || value === null) return false;
  const { reasonCode, reasonString, identity } = value as Partial<Admission>;
  if (typeof reasonCode !== 'number' || !reasonCodeAllowed(PacketType.Connack, reasonCode, 'client')) return false;
  if (reasonString !== undefined && typeof reasonString !== 'string') return false;
  if (identity === undefined) return true;
  if (typeof identity !== 'object' || identity === null) return false;
  const { roles, groups, attributes } = identity;
  return Array.isArray(roles) && Array.isArray(groups) && typeof attributes === 'object' && attributes !== null;
}

const isRefusal = (value: unknown): value is number => typeof value === 'number' && value >= 0x80;

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

function noAnswer(name: string, answer: unknown): Fault {
  const found = isThenable(answer)
    ? 'a promise'
    : typeof answer === 'object' && answer !== null
      ? `an object with ${Object.keys(answer).slice(0, 5).join(', ') || 'nothing'}`
      : quoted(String(answer));
  return new Fault('VERDICT_INVALID', `policy.${name} answered ${found}, which is no verdict`);
}
