// A broker under test: started by the harness on a free loopback port, or somebody else's at host:port.

import type { CertificateFiles } from './certificate.js';

export interface Peer {
  name: string;
  /** Version and, where it matters, what runs it. */
  describe(): string;
  start(place: Place): Promise<RunningPeer>;
}

export interface Place {
  /** Core that the broker is pinned to; undefined where that is not possible. */
  core: number | undefined;
  /** The listener is one of TLS with this certificate; one of plain TCP without it. */
  tls?: CertificateFiles | undefined;
}

export interface RunningPeer {
  host: string;
  port: number;
  /** Processes whose CPU and memory are counted; empty when they are not known. */
  pids: number[];
  /** Ends what was started, and nothing else. */
  stop(): Promise<void>;
}
