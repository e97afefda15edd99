// What the rest of the program may use of the load generator.

export { LoadError, type LoadOptions, type Progress, runLoad } from './engine.js';
export { Histogram, type LatencySummary } from './histogram.js';
export {
  findPlanProblem,
  isLoopback,
  LAYOUTS,
  type Layout,
  type LoadPlan,
  type LoadTls,
  PLAN_DEFAULTS,
} from './plan.js';
export { machineTime, processCpuSeconds, processRssBytes } from './proc.js';
export type { LoadReport } from './report.js';
export { runOffline, runRetained, type Stage } from './stages.js';
export { encodeConnect } from './wire.js';
