/** Goal: a program in TypeScript can name every type that it hands to the library or gets from it. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import * as library from './index.js';

/** Of the library alone: what is not exported does not compile. */
type Program = {
  options: library.BrokerOptions & library.PublishOptions & library.AttachOptions & library.LoggerOptions;
  settings: library.LiveSettings | library.TermOfListener | library.ListenerInput | library.BridgeInput;
  bans: (library.NewBan | library.Ban | library.BanKind)[];
  figures:
    | library.BrokerMetrics
    | library.AccessStatus
    | library.SourceStatus
    | library.Limits
    | library.DurabilityMode;
  policy: library.Identity | library.ClientCertificate | library.AuthenticationExchange | library.ExchangeStep;
  verdicts: library.ConnackReasonCode | library.PubackReasonCode | library.SubackReasonCode;
  configuration: library.LoadedConfig | library.Problem | library.ListenerConfig | library.BridgeConfig;
  log: library.AdjustableLogger | library.LogFields | library.LogLevelName;
  events: library.BrokerEventName | library.UserProperty | library.BridgeConnectionStatus;
};

it('exports its functions, and the types that they name', () => {
  const described: Partial<Program> = {};
  assert.deepEqual(described, {});
  assert.deepEqual(Object.keys(library).sort(), [
    'ConfigError',
    'Fault',
    'ReasonCode',
    'createBroker',
    'createLogger',
    'defaultConfig',
    'loadConfig',
    'silentLogger',
  ]);
});
