// What Linux tells about processes and the machine, in seconds and bytes. Elsewhere nothing is known, and reports say so by
// leaving the figures out.

import { readFileSync } from 'node:fs';

/** `getconf CLK_TCK`; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** User and system time of all threads of a process; undefined when there is no such process. */
export function processCpuSeconds(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The name in brackets may hold spaces and brackets: count from behind it. Fields 14 and 15 of proc(5).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

export function processRssBytes(pid: number): number | undefined {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '');
  return match === null ? undefined : Number(match[1]) * 1024;
}

export interface MachineTime {
  busySeconds: number;
  stealSeconds: number;
}

export function machineTime(): MachineTime {
  const fields = (read('/proc/stat') ?? '').split('\n', 1)[0]!.trim().split(/\s+/).slice(1).map(Number);
  const [user = 0, nice = 0, system = 0, , , interrupt = 0, softInterrupt = 0, steal = 0] = fields;
  return {
    busySeconds: (user + nice + system + interrupt + softInterrupt) / TICKS_PER_SECOND,
    stealSeconds: steal / TICKS_PER_SECOND,
  };
}

export interface Snapshot extends MachineTime {
  atNs: number;
  watchedCpuSeconds: number;
  watchedRssBytes: number;
  ownCpuSeconds: number;
}

/** Everything at once, of the watched processes together and of this one. */
export function takeSnapshot(atNs: number, pids: number[]): Snapshot {
  const own = process.cpuUsage();
  return {
    atNs,
    ...machineTime(),
    watchedCpuSeconds: pids.reduce((sum, pid) => sum + (processCpuSeconds(pid) ?? 0), 0),
    watchedRssBytes: pids.reduce((sum, pid) => sum + (processRssBytes(pid) ?? 0), 0),
    ownCpuSeconds: (own.user + own.system) / 1e6,
  };
}
