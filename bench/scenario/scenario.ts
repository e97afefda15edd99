// What a scenario is: a plan for the load generator, the same for every broker, and what may be said about the outcome.

import type { LoadPlan } from '../../apps/cli/load/index.js';

export interface Scenario {
  name: string;
  /** Selects several scenarios at once on the command line. */
  group: 'standard' | 'protocol' | 'stored' | 'connections' | 'tls';
  title: string;
  kind: 'load' | 'retained' | 'offline';
  /** Every connection is one of TLS. */
  tls?: true;
  /** Host, port, times and watched processes are filled in by the harness. */
  plan: Partial<LoadPlan>;
  /** What the cost column shows: broker CPU per message or per connection made, or resident bytes per connection. */
  cost: 'message' | 'connection' | 'memory';
  /** How long a measured part is, in multiples of what --seconds says; for connections: how long they are held. */
  length?: number;
  /** Arguments by which an external generator of the `mqload` kind makes the same load; without them it cannot. */
  mqload?: string[];
  target?: Target;
}

export interface Target {
  /** Mosquitto's CPU per message, divided by this broker's, is at least this. */
  timesMin?: number;
  /** Its p99 is no worse than Mosquitto's. */
  latencyNoWorse?: boolean;
  bytesPerConnectionMax?: number;
  /** Nothing may be lost. */
  lossless?: boolean;
}
