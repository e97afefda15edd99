/** Runs one maintenance task in a thread of its own; started by `runInWorker`. */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { realFiles } from './files.js';
import { type MaintenanceTask, runMaintenance } from './maintenance.js';
import type { TableFigures } from './table.js';

interface Job {
  readonly dunlinMaintenance: MaintenanceTask;
}

if (parentPort !== null && (workerData as Job | null)?.dunlinMaintenance !== undefined)
  parentPort.postMessage(runMaintenance(realFiles, (workerData as Job).dunlinMaintenance));

/** Runs `task` in a new thread, on the disk of this machine. */
export function runInWorker(task: MaintenanceTask): Promise<TableFigures> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { dunlinMaintenance: task } satisfies Job });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`storage maintenance ended with exit code ${code}`)));
  });
}
