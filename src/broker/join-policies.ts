/** One policy of the program's own decisions and the configuration's. */
import type { AccessPolicy, Policy } from '../policy/index.js';

/** The program's answers where it gives them, the configuration's elsewhere. */
export function joinPolicies(given: Partial<Policy>, access: AccessPolicy): Policy {
  const receives = given.authorizeReceive?.bind(given);
  const unsubscribes = given.authorizeUnsubscribe?.bind(given);
  const { onChange } = given;
  return {
    authenticate: (given.authenticate ?? access.authenticate).bind(given.authenticate ? given : access),
    beginExchange: (given.beginExchange ?? access.beginExchange).bind(given.beginExchange ? given : access),
    authorizePublish: (given.authorizePublish ?? access.authorizePublish).bind(given.authorizePublish ? given : access),
    authorizeSubscribe: (given.authorizeSubscribe ?? access.authorizeSubscribe).bind(
      given.authorizeSubscribe ? given : access,
    ),
    // These come and go with the sources and their rules.
    get authorizeReceive() {
      return receives ?? access.authorizeReceive;
    },
    get authorizeUnsubscribe() {
      return unsubscribes ?? access.authorizeUnsubscribe;
    },
    get denyAction() {
      return given.denyAction ?? access.denyAction;
    },
    onChange(listener) {
      const stops = [access.onChange(listener)];
      if (onChange !== undefined) stops.push(onChange.call(given, listener));
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}
