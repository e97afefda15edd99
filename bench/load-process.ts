// The process that makes the load: `node load-process.js KIND PLAN`, the plan as JSON. A process of its own, so that it can
// be pinned to a core, starts with a clean heap and keeps its CPU time apart from the harness. Prints the stages as JSON.

import { LoadError, type LoadPlan, runLoad, runOffline, runRetained } from '../apps/cli/load/index.js';

const [kind, text = '{}'] = process.argv.slice(2);
const plan = JSON.parse(text) as LoadPlan;
try {
  const stages =
    kind === 'retained'
      ? await runRetained(plan)
      : kind === 'offline'
        ? await runOffline(plan)
        : [{ name: 'load', report: await runLoad(plan) }];
  process.stdout.write(`${JSON.stringify(stages)}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof LoadError ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exitCode = 1;
}
