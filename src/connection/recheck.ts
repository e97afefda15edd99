/**
 * Rights change while clients are connected, and while sessions wait for them: what a client subscribed to is asked for again, and given up where it
 * is not allowed any more.
 */
import { ReasonCode, type SubackReasonCode } from '../protocol/index.js';
import type { Subscription } from '../router/index.js';
import type { Connection } from './connection.js';

/** Ends the subscriptions of a connected client that it may not have. */
export function recheckSubscriptions(connection: Connection): void {
  const { session, client, context } = connection;
  if (session === undefined || client === undefined) return;
  const round = ++connection.recheckRound;
  for (const subscription of [...session.allSubscriptions]) {
    const { mountPoint } = connection;
    const { topicFilter: mounted, qos } = subscription;
    const topicFilter = mounted.startsWith(mountPoint) ? mounted.slice(mountPoint.length) : mounted;
    const verdict = context.policy.authorizeSubscribe(client, topicFilter, qos);
    if (typeof verdict === 'number') decide(connection, subscription, verdict);
    else
      verdict.then(
        (known) => {
          if (round === connection.recheckRound) decide(connection, subscription, known);
        },
        (error: unknown) => {
          context.log.error('subscribe.unauthorized', `no verdict on a subscription: ${String(error)}`, {
            ...connection.description,
            topicFilter: subscription.fullFilter,
          });
        },
      );
  }
}

function decide(connection: Connection, subscription: Subscription, verdict: SubackReasonCode): void {
  const { session, context } = connection;
  // It stays where a source could not be asked.
  if (
    verdict !== ReasonCode.NotAuthorized ||
    session === undefined ||
    connection.done ||
    !session.hasSubscription(subscription.fullFilter)
  )
    return;
  session.unsubscribe(subscription.fullFilter);
  context.log.information('subscribe.withdrawn', 'the client may not have this subscription any more', {
    ...connection.description,
    topicFilter: subscription.fullFilter,
  });
  context.observer.unsubscribed(connection, subscription.fullFilter);
}
