// The brokers by name.

import { aedes } from './aedes.js';
import { dunlin } from './dunlin.js';
import { mosquitto } from './mosquitto.js';
import type { Peer } from './peer.js';
import { target } from './target.js';

export { benchCertificate } from './certificate.js';
export type { Peer, Place, RunningPeer } from './peer.js';
export { findFreePort, findProgram, pinned, startProcess } from './process.js';

export interface PeerChoice {
  names: string[];
  targets: string[];
  root: string;
  /** The Node binary that runs Dunlin; aedes runs on the one that runs the harness. */
  node: string;
}

export function choosePeers(choice: PeerChoice): Peer[] {
  const makers: Record<string, () => Peer> = {
    mosquitto: () => mosquitto(),
    aedes: () => aedes(process.execPath),
    dunlin: () => dunlin(choice.root, choice.node),
  };
  const peers = choice.names.map((name) => {
    const make = Object.hasOwn(makers, name) ? makers[name] : undefined;
    if (make === undefined)
      throw new Error(`${JSON.stringify(name)} is no peer; there are ${Object.keys(makers).join(', ')}, and --target`);
    return make();
  });
  return [...peers, ...choice.targets.map(target)];
}
