// Runs of several stages about what a broker keeps: retained messages, and the queues of sessions that are away. Each
// stage is an ordinary run; they share a run number, and so client identifiers and stamps.

import { randomInt } from 'node:crypto';
import { type LoadOptions, runLoad } from './engine.js';
import type { LoadPlan } from './plan.js';
import type { LoadReport } from './report.js';

export interface Stage {
  name: string;
  report: LoadReport;
}

/**
 * Retained storm: `plan.messages` retained messages, each on a topic of its own, then `plan.subscribers` new subscribers to
 * all of them, then every topic cleared again.
 */
export async function runRetained(plan: LoadPlan, options: LoadOptions = {}): Promise<Stage[]> {
  const shared = { ...options, run: options.run ?? randomInt(65536) };
  const fill: LoadPlan = { ...plan, layout: 'distinct', retain: true, subscribers: 0, awaited: 0 };
  const stages: Stage[] = [];
  try {
    stages.push({ name: 'fill', report: await runLoad(fill, shared) });
    if (plan.subscribers > 0) {
      const read: LoadPlan = { ...plan, layout: 'distinct', publishers: 0, awaited: plan.messages * plan.subscribers };
      stages.push({ name: 'read', report: await runLoad(read, shared) });
    }
  } finally {
    // Also after a stage that failed or was stopped: what was retained must not stay behind.
    await runLoad({ ...fill, payloadBytes: 0 }, { ...shared, signal: new AbortController().signal });
  }
  return stages;
}

/**
 * Offline queues: `plan.subscribers` sessions subscribe and go away, `plan.messages` messages are published to each of
 * them, and they come back for them.
 */
export async function runOffline(plan: LoadPlan, options: LoadOptions = {}): Promise<Stage[]> {
  const shared = { ...options, run: options.run ?? randomInt(65536) };
  const away: LoadPlan = { ...plan, publishers: 0, warmUpSeconds: 0, seconds: 0.1, drainSeconds: 0, messages: 0 };
  const stages: Stage[] = [];
  stages.push({ name: 'leave', report: await runLoad({ ...away, layout: 'shared', session: 'keep' }, shared) });
  try {
    stages.push({
      name: 'fill',
      report: await runLoad({ ...plan, layout: 'shared', subscribers: 0, awaited: 0 }, shared),
    });
    const back: LoadPlan = {
      ...plan,
      layout: 'shared',
      publishers: 0,
      messages: 0,
      session: 'resume',
      awaited: plan.messages * plan.subscribers,
    };
    stages.push({ name: 'return', report: await runLoad(back, shared) });
  } finally {
    await runLoad({ ...away, layout: 'idle', session: 'clean' }, { ...shared, signal: new AbortController().signal });
  }
  return stages;
}
