/** What `mqttjs-scenario` reports when the broker does what the standard says. */
import assert from 'node:assert/strict';
import type { ScenarioOptions, ScenarioReport } from './mqttjs-scenario.js';

export function assertReport(report: ScenarioReport, { version, prefix }: ScenarioOptions): void {
  const numbers = Array.from({ length: 20 }, (_, number) => `${number}`);
  for (const level of ['0', '1', '2'] as const)
    assert.deepEqual(
      report.qos[level],
      numbers.map((number) => `${prefix}/qos/${level}/n ${level} 0 ${number}`),
    );
  assert.deepEqual(report.lowered, [`${prefix}/low/a 0 0 from 2`, `${prefix}/low 0 0 the level above`]);
  assert.equal(report.bytesEqual, true);
  const at = `${prefix}/kept`;
  assert.deepEqual(report.retained, {
    live: [`${at}/a 1 0 old`, `${at}/a 1 0 new`, `${at}/a 1 0 `, `${at}/b 1 0 marker`],
    later: [`${at}/a 1 1 new`, `${at}/a 1 0 `, `${at}/b 1 0 marker`],
    cleared: [`${at}/b 1 0 marker`],
  });
  assert.deepEqual(report.will, [`${prefix}/will/l 1 0 gone`, `${prefix}/will/end 1 0 end`]);
  assert.deepEqual(report.resumed, {
    // 3.1 has no such flag: its byte is reserved
    sessionPresent: version === 3 ? report.resumed.sessionPresent : [false, true, false],
    seen: [`${prefix}/stay/1 1 0 one`, `${prefix}/stay/1 1 0 two`, `${prefix}/stay/2 2 0 three`],
  });
  assert.deepEqual(report.shared, { all: numbers, members: [10, 10] });
  if (version !== 5) return;
  const properties = {
    contentType: 'text/plain',
    responseTopic: `${prefix}/answer`,
    correlationData: 'c1',
    payloadFormatIndicator: true,
    messageExpiryInterval: 100,
    userProperties: { unit: '°C' },
    subscriptionIdentifier: 7,
    topicAlias: undefined,
  };
  const { properties: seen, ...rest } = report.properties as { properties: object[] };
  for (const found of seen) assert.deepEqual({ ...found, topicAlias: undefined }, properties);
  assert.deepEqual(rest, {
    seen: [`${prefix}/p/a 1 0 first`, `${prefix}/p/a 1 0 by alias`],
    aliased: [true, true],
    nobody: 0x10,
  });
}
