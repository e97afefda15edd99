/** What more than one setting of bridges decides. */
import { quoted } from '../base/index.js';
import { clientIdsOf, ruleProblem } from '../bridge/index.js';
import { isValidTopicName } from '../protocol/index.js';
import type { BridgeConfig } from './bridge-schema.js';
import type { Config } from './schema.js';
import type { Findings } from './validate.js';

export function checkBridges({ bridges, storage }: Pick<Config, 'bridges' | 'storage'>, findings: Findings): void {
  const names = new Map<string, number>();
  const ids = new Map<string, string>();
  bridges.forEach((bridge, index) => {
    const key = `bridges[${index}]`;
    const first = names.get(bridge.name);
    if (first !== undefined) {
      findings.reportAt(`${key}.name`, `is already the name of bridges[${first}]`);
      return;
    }
    names.set(bridge.name, index);
    for (const { local } of clientIdsOf(bridge)) {
      const other = ids.get(local);
      if (other !== undefined) findings.reportAt(`${key}.localClientId`, `${local} is already that of bridge ${other}`);
      ids.set(local, bridge.name);
    }
    checkBridge(bridge, storage.mode, key, findings);
  });
}

/** `key` is the path of the bridge, empty or with a dot at its end where it is followed by more. */
export function checkBridge(bridge: BridgeConfig, storageMode: string, key: string, findings: Findings): void {
  const at = (setting: string) => (key === '' ? setting : `${key}.${setting}`);
  bridge.topics.forEach((row, index) => {
    const problem = ruleProblem(row);
    if (problem !== undefined) findings.reportAt(at(`topics[${index}].${problem.setting}`), problem.sentence);
  });
  const { tls, reconnect, password, username, protocolVersion, durability, notifications, clientId } = bridge;
  if (notifications.enabled && notifications.topic === '' && !isValidTopicName(clientId))
    findings.reportAt(
      at('notifications.topic'),
      `is missing: ${quoted(clientId)}, the clientId, cannot be a part of it, since it holds + or #`,
    );
  if ((tls.psk.identity === undefined) !== (tls.psk.key === undefined))
    findings.reportAt(at('tls.psk'), 'needs both identity and key');
  if (tls.psk.identity !== undefined && (tls.ca.length > 0 || tls.certificate !== undefined))
    findings.reportAt(at('tls.psk'), 'takes the place of certificates: give either psk, or ca and certificate');
  if (tls.key !== undefined && tls.certificate === undefined)
    findings.reportAt(at('tls.key'), 'is the key of no certificate: tls.certificate is missing');
  if (password !== undefined && username === undefined && protocolVersion !== '5.0')
    findings.reportAt(at('password'), `needs a username with MQTT ${protocolVersion}`);
  if (reconnect.maximumSeconds < reconnect.minimumSeconds)
    findings.reportAt(
      at('reconnect.maximumSeconds'),
      `is ${reconnect.maximumSeconds}, less than minimumSeconds, which is ${reconnect.minimumSeconds}`,
    );
  if (bridge.compression && protocolVersion !== '5.0')
    findings.reportAt(at('compression'), `is agreed on with MQTT 5.0 only, and protocolVersion is ${protocolVersion}`);
  if (storageMode === 'memory' && durability !== 'asBroker' && durability !== 'memory')
    findings.reportAt(at('durability'), `is ${durability}, but storage.mode is memory: there is no storage`);
}
