/**
 * What an embedding program can watch. Listeners see facts after they happen and change nothing; one that throws, or whose promise
 * is rejected, is logged and disturbs nobody. An event without listeners costs a look-up.
 */
import type { Logger } from '../base/index.js';
import type { BridgeStatus } from '../bridge/index.js';
import type { ProtocolVersion, QoS } from '../protocol/index.js';
import { callSafely } from './call-safely.js';
import { checkOn } from './check-calls.js';

export interface ClientInfo {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly protocolVersion: ProtocolVersion;
  readonly listener: string;
  /** empty for a Unix socket */
  readonly address: string;
}

export interface BrokerEvents {
  clientConnected: { readonly client: ClientInfo };
  /** `reasonCode` is undefined when the connection just broke off. */
  clientDisconnected: { readonly client: ClientInfo; readonly reasonCode: number | undefined; readonly reason: string };
  subscribed: { readonly client: ClientInfo; readonly topicFilter: string; readonly qos: QoS };
  unsubscribed: { readonly client: ClientInfo; readonly topicFilter: string };
  /** A bridge has come into another state. */
  bridgeChanged: { readonly bridge: BridgeStatus };
}

export type BrokerEventName = keyof BrokerEvents;

const names: Readonly<Record<BrokerEventName, true>> = {
  clientConnected: true,
  clientDisconnected: true,
  subscribed: true,
  unsubscribed: true,
  bridgeChanged: true,
};
const eventNames = Object.keys(names);

export class EventHub {
  private readonly listeners = new Map<BrokerEventName, Set<(event: never) => void>>();

  constructor(private readonly log: Logger) {}

  /** Returns what stops listening. Errors: `Fault` EVENT_UNKNOWN, HANDLER_INVALID. */
  on<Name extends BrokerEventName>(name: Name, listener: (event: BrokerEvents[Name]) => void): () => void {
    checkOn(name, listener, eventNames);
    const set = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, set);
    set.add(listener);
    return () => set.delete(listener);
  }

  has(name: BrokerEventName): boolean {
    return (this.listeners.get(name)?.size ?? 0) > 0;
  }

  /** Tells those who listened when it happened: what listens from within a listener hears the next event, what stops hears no more. */
  emit<Name extends BrokerEventName>(name: Name, event: BrokerEvents[Name]): void {
    const listeners = this.listeners.get(name);
    if (listeners === undefined) return;
    for (const listener of [...listeners]) {
      if (!listeners.has(listener)) continue;
      const failed = (error: unknown) =>
        this.log.error('events.listener-failed', `a listener of ${name} threw: ${String(error)}`);
      callSafely(() => (listener as (event: BrokerEvents[Name]) => unknown)(event), failed);
    }
  }
}
