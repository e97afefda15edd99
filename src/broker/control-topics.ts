/** What listens below `$CONTROL/`. Requests to anything else are acknowledged and come to nothing, as in Mosquitto. */
import type { ControlHandler } from '../connection/index.js';
import type { AccessPolicy } from '../policy/index.js';
import { ReasonCode } from '../protocol/index.js';

const DYNAMIC_SECURITY_TOPIC = '$CONTROL/dynamic-security/v1';

export function controlTopics(access: AccessPolicy): ControlHandler {
  return ({ topicName, payload, client, reply }) => {
    if (topicName !== DYNAMIC_SECURITY_TOPIC || access.dynamicSecurity === undefined) return ReasonCode.Success;
    const dynamicSecurity = access.dynamicSecurityFor(client);
    if (dynamicSecurity === undefined) return ReasonCode.NotAuthorized;
    const asker = { client, reply: (text: string) => reply(`${DYNAMIC_SECURITY_TOPIC}/response`, text) };
    return dynamicSecurity.take(asker, payload) ? ReasonCode.Success : ReasonCode.QuotaExceeded;
  };
}
