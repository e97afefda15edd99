// Entry of a worker thread: obeys the coordinator's orders and answers each.

import { parentPort, workerData } from 'node:worker_threads';
import { Traffic, type TrafficOptions } from './traffic.js';

export type Order = 'hello' | 'subscribers' | 'publishers' | 'start' | 'drain' | 'report';

export interface WorkerReport {
  latency: { counts: Float64Array; max: number };
  lateness: { counts: Float64Array; max: number };
  handshakes: { counts: Float64Array; max: number };
  lastFailure: string | undefined;
}

export interface Answer {
  order: Order;
  failure?: string | undefined;
  report?: WorkerReport;
}

if (parentPort !== null) obey(parentPort);

function obey(port: NonNullable<typeof parentPort>): void {
  const traffic = new Traffic(workerData as TrafficOptions);
  const answer = (message: Answer) => port.postMessage(message);
  port.on('message', (order: Order) => {
    switch (order) {
      case 'hello':
        return answer({ order });
      case 'subscribers':
        return traffic.bringUp('subscriber', (failure) => answer({ order, failure }));
      case 'publishers':
        return traffic.bringUp('publisher', (failure) => answer({ order, failure }));
      case 'start':
        traffic.start();
        return answer({ order });
      case 'drain':
        traffic.drain();
        return answer({ order });
      case 'report': {
        traffic.close();
        const part = ({ counts, max }: WorkerReport['latency']) => ({ counts, max });
        const { latency, lateness, handshakes, lastFailure } = traffic;
        answer({
          order,
          report: {
            latency: part(latency),
            lateness: part(lateness),
            handshakes: part(handshakes),
            lastFailure,
          },
        });
        port.close();
      }
    }
  });
}
